/** validateTopic throws `bad_topic` unless topic is a valid name ([TOP-1] to [TOP-6]). */
export declare function validateTopic(topic: string): void;
/** validateFilter throws `bad_filter` unless filter is a valid filter ([FIL-1] to [FIL-3]). */
export declare function validateFilter(filter: string): void;
/** match says whether filter, which is valid, matches topic, which is valid ([FIL-4], [FIL-5]). */
export declare function match(filter: string, topic: string): boolean;
/** covers says whether wider matches every topic that narrower matches; both are valid filters ([FIL-6]). */
export declare function covers(wider: string, narrower: string): boolean;
/** escapeLevel makes exactly one level of a topic out of any text: a host name, a user id ([NAM-1]). */
export declare function escapeLevel(text: string): string;
/** unescapeLevel is the reverse of escapeLevel. What that does not write is `bad_args` ([NAM-2]). */
export declare function unescapeLevel(level: string): string;
