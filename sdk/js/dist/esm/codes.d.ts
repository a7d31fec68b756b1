/** The name of a code of the broker. docs/codes.md says of each what the likely cause is and what to do. */
export type Code = 
/** 4000: The server is shutting down or restarting. */
'going_away'
/** 4001: The connection accepted no byte and sent none for too long while messages were waiting. */
 | 'stalled'
/** 4002: A ping was not answered in time. */
 | 'no_pong'
/** 4003: No decision could be had: something the server needs is away. */
 | 'unavailable'
/** 4004: There are too many sessions, in all or of this user or address. */
 | 'session_limit'
/** 4005: The client went on sending far above a limit that it had been told of. */
 | 'flooding'
/** 4006: The server failed in a way it did not expect. */
 | 'internal'
/** 4007: No Connect packet came in time after the connection was opened. */
 | 'connect_timeout'
/** 4008: Another session has taken this one's place. */
 | 'replaced'
/** 4100: The token has expired. */
 | 'token_expired'
/** 4101: The session has lasted as long as it may. */
 | 'session_expired'
/** 4200: The bytes are not a packet of this protocol. */
 | 'bad_packet'
/** 4201: There is no token, and anonymous clients are not allowed. */
 | 'token_missing'
/** 4202: The token cannot be read. */
 | 'token_malformed'
/** 4203: The token's signature is wrong. */
 | 'token_bad_signature'
/** 4204: The token is meant for somebody else. */
 | 'token_wrong_audience'
/** 4205: The token comes from somebody else. */
 | 'token_wrong_issuer'
/** 4206: The token is signed with a key that the server does not know. */
 | 'token_unknown_key'
/** 4207: The token is not valid yet. */
 | 'token_not_yet_valid'
/** 4208: The token's claims are not usable. */
 | 'token_bad_claims'
/** 4209: The server does not speak this version of the protocol. */
 | 'bad_version'
/** 4210: The packet is not allowed at this point. */
 | 'bad_order'
/** 4211: A WebSocket message is larger than the server takes. */
 | 'message_too_large'
/** 4212: The WebSocket message is not acceptable. */
 | 'bad_frame'
/** 4213: The rights of this session have been revoked. */
 | 'revoked'
/** 4214: An operator has closed this session. */
 | 'kicked'
/** 4300: Too many requests in a short time. */
 | 'rate_limited'
/** 4301: The store cannot be reached, so it is not known whether the message was kept. */
 | 'store_unavailable'
/** 4302: The server has not loaded everything yet. */
 | 'not_ready'
/** 4303: A store or a table is full. */
 | 'quota'
/** 4304: The answer did not come in time; it is not known whether the request was carried out. */
 | 'timeout'
/** 4400: The topic is not a valid name. */
 | 'bad_topic'
/** 4401: The filter is not valid. */
 | 'bad_filter'
/** 4402: The session has no right to do this. */
 | 'forbidden'
/** 4403: The message is larger than allowed. */
 | 'too_large'
/** 4404: The server does not know this type of packet. */
 | 'unknown_type'
/** 4405: A field has a value that makes no sense. */
 | 'bad_args'
/** 4406: The id is already in use. */
 | 'duplicate_id'
/** 4407: The position cannot be read. */
 | 'bad_position'
/** 4408: There is no such thing. */
 | 'not_found'
/** 4409: The session has as many subscriptions as it may have. */
 | 'subscription_limit'
/** 4410: The server cannot do this as it is configured. */
 | 'unsupported'
/** 4500: Requests from this web origin are not allowed. */
 | 'bad_origin'
/** 4501: The server does not answer under this name. */
 | 'bad_host'
/** 4502: The WebSocket subprotocol is missing or not known. */
 | 'bad_subprotocol'
/** 4503: This address takes WebSocket connections only. */
 | 'upgrade_required'
/** 4504: This address does not take this method. */
 | 'method_not_allowed'
/** 4505: The body is of a type or encoding that is not taken. */
 | 'unsupported_media_type'
/** 4506: The body cannot be read. */
 | 'bad_body'
/** 4507: There is a token in the URL, where logs and proxies see it. */
 | 'token_in_url'
/** 4508: The request's headers are too large. */
 | 'headers_too_large'
/** 4509: Plain HTTP came to a port that speaks TLS, or TLS to one that does not. */
 | 'bad_scheme';
