"""What the functions share: the items of one DynamoDB table, by their `id`.

| id | module | what | gone after |
|---|---|---|---|
| `edit#<variant>#<bucket>/<key>` | `records`, `edit_record` | an image's or a variant's life | 400 days |
| `spend#<date>` | `billing` | what the calls of a day (UTC) cost and may cost | 400 days |
| `message#<id>` | `failures` | which receives of a queue message have failed | 15 days |
| `rate` | `rate_limit` | slots, limits and failures of all models | a day |
| `circuit-breaker` | `circuit_breaker` | whether processing is paused, and why | never |
| `catalogue` | `catalogue_store` | Venice's models, as last listed | never |
| `backfill` | `scans` | the running or the last scan of the bucket | never |

`atomic_item` is what those with one item are made of.
"""
