"""What `image-drop doctor` looks at: each finding is fine, or has its cure."""
