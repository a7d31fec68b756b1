<?php

declare(strict_types=1);

/**
 * What a PHP application needs to push to browsers through a Carillon broker: tokens for its pages, publishing that never costs the
 * request more than a quarter of a second, and names that are safe inside topics. One file, no Composer, no extension beyond
 * what php-cli has. Copy it; change what you like.
 *
 *   $carillon = new Carillon('http://127.0.0.1:8080', file_get_contents('carillon.key'), 'https://shop.example');
 *   $token = $carillon->token('42');                                        // for the page of user 42
 *   $carillon->pushToUser('42', 'orders', ['order' => 1001, 'status' => 'shipped']); // from any request
 */
final class Carillon
{
    /**
     * @param string $url     where the broker answers HTTP to this machine. An address is better than a name: the time limit does not
     *                        hold for looking up names
     * @param string $key     the HS256 secret that the broker has too: at least 32 bytes; a line break at its end is not part of it
     * @param string $issuer  `issuer` of the broker's configuration
     * @param string $service the name under which this application publishes
     * @param float  $timeout seconds to connect in, and then to wait for the answer
     */
    public function __construct(
        private string $url,
        private string $key,
        private string $issuer,
        private string $audience = 'carillon',
        private string $service = 'shop',
        private float $timeout = 0.25,
    ) {
        $this->url = rtrim($url, '/');
        $this->key = preg_replace('/\r?\n\z/', '', $key);
        if (strlen($this->key) < 32) {
            throw new InvalidArgumentException('the key has ' . strlen($this->key) . ' bytes, want at least 32: make one with openssl rand -hex 32');
        }
    }

    /**
     * A token for a page of the user. Without further grants it may read what is pushed to this user and nothing else. Keep it
     * short-lived and ask for a new one when the client calls for it; never put it into a URL.
     *
     * @param list<string> $publish   filters of the topics that it may publish to
     * @param list<string> $subscribe filters that it may subscribe to, beside the user's own topics
     */
    public function token(string $user, array $publish = [], array $subscribe = [], int $seconds = 900): string
    {
        $now = time();
        return $this->sign([
            'iss' => $this->issuer,
            'aud' => $this->audience,
            'sub' => $user,
            'iat' => $now,
            'exp' => $now + $seconds,
            'carillon' => ['publish' => $publish, 'subscribe' => $subscribe],
        ]);
    }

    /** Pushes to all pages that the user has open now: publishes $data to `$user.<id>.<name>`. */
    public function pushToUser(string $user, string $name, mixed $data): bool
    {
        return $this->publish('$user.' . self::level($user) . '.' . $name, $data);
    }

    /**
     * Publishes $data as JSON. It never throws and never waits long: a broker that is down, hangs or refuses is `false`, with the
     * reason in the error log. Save first, publish then; a page that missed something asks the application for the truth.
     */
    public function publish(string $topic, mixed $data, bool $retain = false): bool
    {
        $body = json_encode($data, JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_PRESERVE_ZERO_FRACTION | JSON_INVALID_UTF8_SUBSTITUTE);
        if ($body === false) {
            return self::failed($topic, json_last_error_msg());
        }
        $context = stream_context_create(['http' => [
            'method' => 'POST',
            'header' => [
                'Authorization: Bearer ' . $this->token($this->service, publish: ['>', '$user.>'], seconds: 60),
                'Content-Type: application/json',
                'Connection: close',
            ],
            'content' => $body,
            'timeout' => $this->timeout,
            'protocol_version' => 1.1,
            'follow_location' => 0,
            'ignore_errors' => true, // a refusal explains itself in its body
        ]]);
        $url = $this->url . '/v1/topics/' . rawurlencode($topic) . ($retain ? '?retain=true' : '');
        $answer = @fopen($url, 'r', false, $context);
        if ($answer === false) {
            return self::failed($topic, error_get_last()['message'] ?? 'no answer');
        }
        $status = stream_get_meta_data($answer)['wrapper_data'][0] ?? 'no status';
        $published = preg_match('#^HTTP/\S+ 200\b#', $status) === 1;
        $problem = $published ? null : json_decode((string) stream_get_contents($answer, 4096), true);
        fclose($answer);
        return $published || self::failed($topic, is_array($problem) ? ($problem['code'] ?? '') . ': ' . ($problem['detail'] ?? '') : $status);
    }

    /**
     * Writes any string, such as a user id, as exactly one level of a topic; different strings are different levels. `.` `*` `>` `%`, a
     * leading `$`, blanks, control and format characters and bytes that are no UTF-8 become %XX (NAM-1 of the protocol).
     */
    public static function level(string $name): string
    {
        if ($name === '') {
            return '%';
        }
        [$dollar, $rest] = $name[0] === '$' ? ['%24', substr($name, 1)] : ['', $name];
        $escape = static fn (array $m): string => '%' . implode('%', str_split(strtoupper(bin2hex($m[0])), 2));
        // Runs of valid UTF-8 (RFC 3629) are looked at by character, what is between them by byte.
        $valid = '(?:[\x00-\x7F]|[\xC2-\xDF][\x80-\xBF]|\xE0[\xA0-\xBF][\x80-\xBF]|[\xE1-\xEC\xEE\xEF][\x80-\xBF]{2}|\xED[\x80-\x9F][\x80-\xBF]'
            . '|\xF0[\x90-\xBF][\x80-\xBF]{2}|[\xF1-\xF3][\x80-\xBF]{3}|\xF4[\x80-\x8F][\x80-\xBF]{2})';
        return $dollar . preg_replace_callback("/$valid++|./s", static function (array $m) use ($escape): string {
            if (preg_match('//u', $m[0]) !== 1) {
                return $escape($m);
            }
            // U+13430..1343F are format characters that an older PCRE does not know.
            return preg_replace_callback('/[.*>%\p{Z}\p{Cc}\p{Cf}\x{13430}-\x{1343F}]/u', $escape, $m[0]);
        }, $rest);
    }

    /** A JSON Web Token (RFC 7519), signed with HS256. @param array<string, mixed> $claims */
    private function sign(array $claims): string
    {
        $encode = static fn (string $bytes): string => rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
        $json = static fn (array $part): string => json_encode($part, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
        $signed = $encode($json(['alg' => 'HS256', 'typ' => 'JWT'])) . '.' . $encode($json($claims));
        return $signed . '.' . $encode(hash_hmac('sha256', $signed, $this->key, true));
    }

    private static function failed(string $topic, string $reason): bool
    {
        error_log('carillon: nothing was published to ' . addcslashes($topic, "\0..\37\177") . ': ' . $reason);
        return false;
    }
}
