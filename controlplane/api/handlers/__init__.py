"""The verbs: `lists` and `watches` read collections, `verbs` the rest, `subresources` what is no plain
storage."""
