<?php

declare(strict_types=1);

require_once __DIR__ . '/../carillon.php';

// Everything of the shop has a default for this machine and can be set by the environment.

/** Where this shop's PHP reaches the broker. */
function brokerURL(): string
{
    return getenv('CARILLON_URL') ?: 'http://127.0.0.1:8080';
}

/** Where browsers reach the broker. */
function brokerURLForPages(): string
{
    return getenv('CARILLON_PAGE_URL') ?: 'http://127.0.0.1:8080';
}

function carillon(): Carillon
{
    $file = getenv('CARILLON_KEY') ?: __DIR__ . '/../carillon.key';
    $key = @file_get_contents($file);
    if ($key === false) {
        throw new RuntimeException("$file cannot be read: README.md says how to make it");
    }
    return new Carillon(brokerURL(), $key, 'https://shop.example');
}

/** Tells the customer's open pages of an order. Whatever goes wrong here, the order is saved: the answer is only whether it worked. */
function tellCustomer(array $order): bool
{
    try {
        return carillon()->pushToUser($order['user'], 'orders', $order);
    } catch (Throwable $mistake) { // of ours: no key, a bad setting
        error_log((string) $mistake);
        return false;
    }
}

function dataDir(): string
{
    return getenv('SHOP_DATA') ?: __DIR__ . '/../data';
}
