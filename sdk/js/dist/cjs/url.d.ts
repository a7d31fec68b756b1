/** serverUrl is the broker's WebSocket address as an absolute http or https URL. Of a bare host it is /ws. */
export declare function serverUrl(url: string | URL): URL;
