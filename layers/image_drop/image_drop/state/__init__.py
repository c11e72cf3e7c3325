"""What the functions share: the items of one DynamoDB table, by their `id`.

| id | module | what | gone after |
|---|---|---|---|
| `edit#<variant>#<bucket>/<key>` | `records` | an image's or a variant's life | 400 days |
| `spend#<date>` | `billing` | what the calls of a day (UTC) cost | 400 days |
| `message#<id>` | `failures` | which receives of a message have failed | 15 days |
| `rate` | `rate_limit` | slots, limits, failures of all models | a day |
| `circuit-breaker` | `circuit_breaker` | whether and why processing is paused | never |
| `catalogue` | `catalogue_store` | Venice's models, as last listed | never |
| `backfill` | `scans` | the running or the last scan | never |

`atomic_item` is what those with one item are made of.
"""
