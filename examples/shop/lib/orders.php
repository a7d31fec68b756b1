<?php

declare(strict_types=1);

/** The orders of everybody in one JSON file. Changes happen one after another under a lock, and replace the file as a whole. */
final class Orders
{
    public const STATUSES = ['placed', 'paid', 'packed', 'shipped', 'delivered'];

    public function __construct(private string $dir)
    {
        if (!is_dir($dir)) {
            @mkdir($dir, 0700, true);
        }
    }

    /** @return list<array<string, mixed>> newest first */
    public function all(): array
    {
        return array_reverse($this->read());
    }

    /** @return list<array<string, mixed>> newest first */
    public function of(string $user): array
    {
        return array_values(array_filter($this->all(), static fn (array $order): bool => $order['user'] === $user));
    }

    /** Changes the status of an order and returns the order as it is now, or null if there is none of that number. */
    public function setStatus(int $number, string $status): ?array
    {
        $lock = fopen($this->dir . '/lock', 'c');
        if ($lock === false || !flock($lock, LOCK_EX)) {
            throw new RuntimeException("$this->dir/lock cannot be opened and locked");
        }
        try {
            $orders = $this->read();
            foreach ($orders as &$order) {
                if ($order['number'] === $number) {
                    $order['status'] = $status;
                    $order['version']++; // by which a page tells an old message from a new one
                    $this->write($orders);
                    return $order;
                }
            }
            return null;
        } finally {
            fclose($lock); // which gives it back
        }
    }

    private function read(): array
    {
        $text = @file_get_contents($this->dir . '/orders.json');
        return $text === false ? self::first() : json_decode($text, true, 16, JSON_THROW_ON_ERROR);
    }

    private function write(array $orders): void
    {
        $text = json_encode($orders, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_PRETTY_PRINT);
        $next = $this->dir . '/orders.json.next';
        if (file_put_contents($next, $text) !== strlen($text) || !rename($next, $this->dir . '/orders.json')) {
            throw new RuntimeException('the orders could not be written');
        }
    }

    /** What a new shop has. */
    private static function first(): array
    {
        $order = static fn (int $number, string $user, string $what, int $cents, string $status): array
            => ['number' => $number, 'user' => $user, 'what' => $what, 'cents' => $cents, 'status' => $status, 'version' => 1];
        return [
            $order(1001, '42', 'Handbell, brass, C5', 8900, 'delivered'),
            $order(1002, '42', 'Tuning fork, 440 Hz', 1250, 'paid'),
            $order(1003, 'zoe.k@example.com', 'Wind chime <bamboo>', 3400, 'placed'),
            $order(1004, '42', 'Carillon keyboard, 4 octaves', 249900, 'placed'),
            $order(1005, 'zoe.k@example.com', 'Sleigh bells, set of 24', 5900, 'packed'),
        ];
    }
}
