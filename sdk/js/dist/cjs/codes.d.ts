/** The broker's codes by name. docs/codes.md says of each what the likely cause is and what to do. */
export declare const codes: {
    /** The server is shutting down or restarting. */
    readonly going_away: 4000;
    /** The connection accepted no byte and sent none for too long while messages were waiting. */
    readonly stalled: 4001;
    /** A ping was not answered in time. */
    readonly no_pong: 4002;
    /** No decision could be had: something the server needs is away. */
    readonly unavailable: 4003;
    /** There are too many sessions, in all or of this user or address. */
    readonly session_limit: 4004;
    /** The client went on sending far above a limit that it had been told of. */
    readonly flooding: 4005;
    /** The server failed in a way it did not expect. */
    readonly internal: 4006;
    /** No Connect packet came in time after the connection was opened. */
    readonly connect_timeout: 4007;
    /** Another session has taken this one's place. */
    readonly replaced: 4008;
    /** The token has expired. */
    readonly token_expired: 4100;
    /** The session has lasted as long as it may. */
    readonly session_expired: 4101;
    /** The bytes are not a packet of this protocol. */
    readonly bad_packet: 4200;
    /** There is no token, and anonymous clients are not allowed. */
    readonly token_missing: 4201;
    /** The token cannot be read. */
    readonly token_malformed: 4202;
    /** The token's signature is wrong. */
    readonly token_bad_signature: 4203;
    /** The token is meant for somebody else. */
    readonly token_wrong_audience: 4204;
    /** The token comes from somebody else. */
    readonly token_wrong_issuer: 4205;
    /** The token is signed with a key that the server does not know. */
    readonly token_unknown_key: 4206;
    /** The token is not valid yet. */
    readonly token_not_yet_valid: 4207;
    /** The token's claims are not usable. */
    readonly token_bad_claims: 4208;
    /** The server does not speak this version of the protocol. */
    readonly bad_version: 4209;
    /** The packet is not allowed at this point. */
    readonly bad_order: 4210;
    /** A WebSocket message is larger than the server takes. */
    readonly message_too_large: 4211;
    /** The WebSocket message is not acceptable. */
    readonly bad_frame: 4212;
    /** The rights of this session have been revoked. */
    readonly revoked: 4213;
    /** An operator has closed this session. */
    readonly kicked: 4214;
    /** Too many requests in a short time. */
    readonly rate_limited: 4300;
    /** The store cannot be reached, so it is not known whether the message was kept. */
    readonly store_unavailable: 4301;
    /** The server has not loaded everything yet. */
    readonly not_ready: 4302;
    /** A store or a table is full. */
    readonly quota: 4303;
    /** The answer did not come in time; it is not known whether the request was carried out. */
    readonly timeout: 4304;
    /** The topic is not a valid name. */
    readonly bad_topic: 4400;
    /** The filter is not valid. */
    readonly bad_filter: 4401;
    /** The session has no right to do this. */
    readonly forbidden: 4402;
    /** The message is larger than allowed. */
    readonly too_large: 4403;
    /** The server does not know this type of packet. */
    readonly unknown_type: 4404;
    /** A field has a value that makes no sense. */
    readonly bad_args: 4405;
    /** The id is already in use. */
    readonly duplicate_id: 4406;
    /** The position cannot be read. */
    readonly bad_position: 4407;
    /** There is no such thing. */
    readonly not_found: 4408;
    /** The session has as many subscriptions as it may have. */
    readonly subscription_limit: 4409;
    /** The server cannot do this as it is configured. */
    readonly unsupported: 4410;
    /** Requests from this web origin are not allowed. */
    readonly bad_origin: 4500;
    /** The server does not answer under this name. */
    readonly bad_host: 4501;
    /** The WebSocket subprotocol is missing or not known. */
    readonly bad_subprotocol: 4502;
    /** This address takes WebSocket connections only. */
    readonly upgrade_required: 4503;
    /** This address does not take this method. */
    readonly method_not_allowed: 4504;
    /** The body is of a type or encoding that is not taken. */
    readonly unsupported_media_type: 4505;
    /** The body cannot be read. */
    readonly bad_body: 4506;
    /** There is a token in the URL, where logs and proxies see it. */
    readonly token_in_url: 4507;
    /** The request's headers are too large. */
    readonly headers_too_large: 4508;
    /** Plain HTTP came to a port that speaks TLS, or TLS to one that does not. */
    readonly bad_scheme: 4509;
};
/** The name of a code of the broker. */
export type Code = keyof typeof codes;
