"""Image Drop: drop an image into a bucket; get the edited PNG in another."""
