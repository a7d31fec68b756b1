package authhttp

// ConfigSchema is the JSON Schema of what ParseConfig reads.
const ConfigSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["url"],
  "properties": {
    "url": {"type": "string", "minLength": 1, "description": "What is asked: https, or http to this machine. Redirects are not followed."},
    "method": {"enum": ["GET", "POST"], "default": "GET", "description": "POST has a JSON body beside the headers."},
    "timeout": {"type": "string", "default": "1.5s", "description": "For one answer, at most 1m; limits.auth_timeout of the broker bounds it too."},
    "concurrency": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 32, "description": "Questions at a time, and connections."},
    "remember": {"type": "string", "default": "5s", "description": "How long an identity is given again for the same credentials, at most 5m; none: not at all."},
    "plain_http": {"type": "boolean", "default": false, "description": "Allows http to another machine: cookies and tokens cross the network unencrypted."},
    "ca": {"type": "string", "minLength": 1, "description": "File with certificates (PEM) of authorities to trust beside the system's."},
    "cert": {"type": "string", "minLength": 1, "description": "File with a certificate to show the application, in PEM."},
    "key": {"type": "string", "minLength": 1, "description": "File with its key, in PEM."},
    "grants": {"$ref": "#/$defs/grants"},
    "services": {"type": "array", "maxItems": 100, "items": {
      "type": "object",
      "additionalProperties": false,
      "required": ["user"],
      "oneOf": [{"required": ["secret"]}, {"required": ["file"]}],
      "description": "A program that shows a fixed token, such as the application itself when it publishes. Nobody is asked about it.",
      "properties": {
        "user": {"type": "string", "minLength": 1, "maxLength": 255},
        "secret": {"type": "string", "minLength": 32, "writeOnly": true, "description": "Its token: at least 32 bytes of text."},
        "file": {"type": "string", "minLength": 1, "description": "A file with it."},
        "grants": {"$ref": "#/$defs/grants"}
      }
    }}
  },
  "$defs": {
    "filters": {"type": "array", "maxItems": 1000, "items": {"type": "string", "minLength": 1}},
    "grants": {
      "type": "object",
      "additionalProperties": false,
      "description": "Filters by action. A level {user} stands for the user's id.",
      "properties": {
        "publish": {"$ref": "#/$defs/filters"},
        "subscribe": {"$ref": "#/$defs/filters"},
        "history": {"$ref": "#/$defs/filters"},
        "presence": {"$ref": "#/$defs/filters"},
        "exclude": {"$ref": "#/$defs/filters"}
      }
    }
  }
}`
