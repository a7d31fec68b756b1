package authjwt

// ConfigSchema is the JSON Schema of what ParseConfig reads.
const ConfigSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "anyOf": [{"required": ["issuer", "audience"]}, {"required": ["issuers"]}],
  "properties": {
    "issuer": {"$ref": "#/$defs/issuer"},
    "audience": {"$ref": "#/$defs/audience"},
    "keys": {"$ref": "#/$defs/keys"},
    "jwks": {"$ref": "#/$defs/jwks"},
    "issuers": {"type": "array", "minItems": 1, "maxItems": 32,
      "description": "Several issuers, instead of issuer, audience, keys and jwks. Each one's keys are for its own tokens only.",
      "items": {
        "type": "object",
        "additionalProperties": false,
        "required": ["issuer", "audience"],
        "properties": {
          "issuer": {"$ref": "#/$defs/issuer"},
          "audience": {"$ref": "#/$defs/audience"},
          "keys": {"$ref": "#/$defs/keys"},
          "jwks": {"$ref": "#/$defs/jwks"},
          "user_prefix": {"type": "string", "maxLength": 64,
            "description": "Stands in front of sub in the user's id. No two issuers have the same one."},
          "grants": {"$ref": "#/$defs/grants"},
          "grants_for": {"$ref": "#/$defs/grants_for"}
        }
      }
    },
    "grants": {"$ref": "#/$defs/grants"},
    "grants_for": {"$ref": "#/$defs/grants_for"},
    "revoked": {"type": "string", "minLength": 1,
      "description": "File that lists what is revoked, a JSON object a line. Read again within seconds when it has changed."},
    "max_lifetime": {"type": "string", "default": "24h", "description": "Longest life of a token, such as 12h."},
    "leeway": {"type": "string", "default": "30s", "description": "How far the issuer's clock may differ, at most 5m."}
  },
  "$defs": {
    "issuer": {"type": "string", "minLength": 1, "description": "The iss that every token has to have, exactly."},
    "audience": {"type": "string", "minLength": 1, "description": "What a token's aud has to be or to contain, exactly."},
    "keys": {"type": "array", "minItems": 1, "items": {
      "type": "object",
      "additionalProperties": false,
      "required": ["alg"],
      "oneOf": [{"required": ["secret"]}, {"required": ["file"]}],
      "properties": {
        "kid": {"type": "string", "minLength": 1, "description": "The kid of the tokens that this key signs."},
        "alg": {"enum": ["HS256", "RS256", "ES256", "EdDSA"], "description": "The only algorithm this key is used with."},
        "secret": {"type": "string", "minLength": 32, "writeOnly": true, "description": "HS256: at least 32 bytes of text."},
        "file": {"type": "string", "minLength": 1,
          "description": "HS256: a file with the secret. Others: a public key or a certificate in PEM."}
      }
    }},
    "jwks": {
      "type": "object",
      "additionalProperties": false,
      "description": "The issuer's public keys, as a JSON Web Key Set (RFC 7517).",
      "oneOf": [{"required": ["url"]}, {"required": ["file"]}],
      "properties": {
        "url": {"type": "string", "minLength": 1, "description": "Where the set is: https, or http to this machine. Redirects are not followed."},
        "file": {"type": "string", "minLength": 1, "description": "A file with the set, read again within seconds when it has changed."},
        "ca": {"type": "string", "minLength": 1, "description": "File with certificates (PEM) of authorities to trust beside the system's, for url."},
        "algorithms": {"type": "array", "minItems": 1, "items": {"enum": ["RS256", "ES256", "EdDSA"]},
          "description": "What its keys may be used with; all three unless told."},
        "refresh": {"type": "string", "default": "15m", "description": "Between two questions to url, 10s to 24h."},
        "keep": {"type": "string", "default": "24h", "description": "How long the last good set is used while url does not answer, 10s to 720h."}
      }
    },
    "grants": {
      "type": "object",
      "additionalProperties": false,
      "description": "Filters given to every token. A level {sub}, or {name} of another claim, stands for the claim's value.",
      "properties": {
        "publish": {"$ref": "#/$defs/filters"},
        "subscribe": {"$ref": "#/$defs/filters"},
        "history": {"$ref": "#/$defs/filters"},
        "presence": {"$ref": "#/$defs/filters"},
        "exclude": {"$ref": "#/$defs/filters"}
      }
    },
    "grants_for": {"type": "array", "maxItems": 100, "items": {
      "type": "object",
      "additionalProperties": false,
      "required": ["claim", "value"],
      "description": "Filters given to the tokens with a role or a scope.",
      "properties": {
        "claim": {"description": "The claim that holds it, such as roles or scope; a list is a path: [realm_access, roles].",
          "oneOf": [{"type": "string", "minLength": 1}, {"type": "array", "minItems": 1, "maxItems": 8, "items": {"type": "string", "minLength": 1}}]},
        "value": {"type": "string", "minLength": 1, "description": "What the claim has to be, or to contain."},
        "publish": {"$ref": "#/$defs/filters"},
        "subscribe": {"$ref": "#/$defs/filters"},
        "history": {"$ref": "#/$defs/filters"},
        "presence": {"$ref": "#/$defs/filters"},
        "exclude": {"$ref": "#/$defs/filters"}
      }
    }},
    "filters": {"type": "array", "maxItems": 1000, "items": {"type": "string", "minLength": 1}}
  }
}`
