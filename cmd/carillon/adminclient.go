package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// adminFlags are what every verb that asks a running broker's admin listener takes.
type adminFlags struct {
	Admin string `help:"Address of the broker's admin listener, ${default} unless told." default:"http://127.0.0.1:8081" env:"CARILLON_ADMIN" placeholder:"URL"`
	trustFlags
}

// adminAnswerBytes bounds what is read of an answer. A plugin's description has 4 MiB at most.
const adminAnswerBytes = 8 << 20

// get asks for path. An answer of any status is an answer; no answer is exitUnreachable.
func (f *adminFlags) get(ctx context.Context, path string) (status int, body []byte, err error) {
	return f.ask(ctx, http.MethodGet, path, 5*time.Second)
}

// ask is get with another method and another patience.
func (f *adminFlags) ask(ctx context.Context, method, path string, patience time.Duration) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(f.Admin, "/")+path, nil)
	if err != nil || req.URL.Host == "" || req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return 0, nil, usage("--admin %q is not a URL; write it like http://127.0.0.1:8081", f.Admin)
	}
	client, err := f.client()
	if err != nil {
		return 0, nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, &exitError{exitUnreachable, fmt.Errorf("cannot reach the admin listener at %s: %w", req.URL.Host, plainDialError(err))}
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, adminAnswerBytes))
	if err != nil {
		return 0, nil, &exitError{exitUnreachable, fmt.Errorf("read from the admin listener: %w", err)}
	}
	return resp.StatusCode, body, nil
}

// problem is the error of an answer that is not 200: what the problem document says, and what to do.
func problem(status int, body []byte) error {
	var p struct{ Code, Detail, Hint string }
	if err := json.Unmarshal(body, &p); err != nil || p.Code == "" {
		return fmt.Errorf("status %d", status)
	}
	return &adminError{text: oneLine(p.Code + ": " + p.Detail), hint: p.Hint}
}

// adminError is a refusal of the admin listener.
type adminError struct{ text, hint string }

// Error is on one line.
func (e *adminError) Error() string { return e.text }
