package badinput

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// publicKey writes a key that nobody has the other half of.
func publicKey(t *testing.T, dir string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, dir, "PUBLIC KEY", der)
}

func writePEM(t testing.TB, dir, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(dir, strings.ReplaceAll(kind, " ", "-")+".pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// post is a request to publish to a topic.
func post(topic, body string, headers ...string) string {
	return request("POST", "/v1/topics/"+topic, body, headers...)
}

func request(method, path, body string, headers ...string) string {
	head := method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	for _, h := range headers {
		head += h + "\r\n"
	}
	if body != "" || method == "POST" {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	return head + "\r\n" + body
}

func bearer(token string) string { return "Authorization: Bearer " + token }

func tokenInputs(t testing.TB) []input {
	t.Helper()
	var all []input
	refuse := func(id, name, code, token string) {
		all = append(all, input{id: id, name: name, counts: once(code), send: refusedBy(post("orders.1", marker, bearer(token)), 401, code)})
	}
	accept := func(id, name, token string) {
		all = append(all, input{id: id, name: name, accepted: 1, send: refusedBy(post("orders.1", "1", bearer(token)), 200, "")})
	}
	const header = `{"alg":"HS256","kid":"main"}`
	good := token(t, "42", everything)
	now := time.Now().Unix()
	other := func(name string, v any) string { return signedClaims(t, "42", map[string]any{name: v}) }
	raw := func(name, value string) string { // a claim in JSON that no encoder would write
		payload, err := json.Marshal(claims("42", everything))
		if err != nil {
			t.Fatal(err)
		}
		return signed(header, strings.Replace(string(payload), `"`+name+`":`, `"`+name+`":`+value+`,"was":`, 1))
	}
	payload := func() string { b, _ := base64URL.DecodeString(strings.Split(good, ".")[1]); return string(b) }()

	for _, alg := range []string{"none", "None", "nOnE"} {
		refuse("J1", alg, "token_bad_signature", strings.TrimRight(signed(`{"alg":"`+alg+`"}`, payload), "-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"))
	}
	refuse("J5", "crit", "token_malformed", signed(`{"alg":"HS256","kid":"main","crit":["b64"],"b64":false}`, payload))
	refuse("J7", "no exp", "token_bad_claims", other("exp", nil))
	for value, code := range map[string]string{
		"0": "token_expired", "null": "token_bad_claims", `"9999999999"`: "token_bad_claims", "-1": "token_bad_claims", "1e30": "token_bad_claims",
		"1e400": "token_bad_claims", "253402300800": "token_bad_claims",
	} {
		refuse("J7", "exp "+value, code, raw("exp", value))
	}
	accept("J9", "nbf in 15 s", other("nbf", now+15))
	refuse("J9", "nbf in 10 min", "token_not_yet_valid", other("nbf", now+600))
	refuse("J9", "iat in an hour", "token_not_yet_valid", other("iat", now+3600))
	for name, v := range map[string]any{"other": "other", "empty": "", "empty list": []string{}, "capitals": "CARILLON", "object": map[string]int{"a": 1}, "absent": nil} {
		refuse("J10", "aud "+name, "token_wrong_audience", other("aud", v))
	}
	accept("J10", "aud among others", other("aud", []string{"x", "carillon"}))
	for name, v := range map[string]any{"absent": nil, "other": "https://evil.test", "slash": issuer + "/"} {
		refuse("J11", "iss "+name, "token_wrong_issuer", other("iss", v))
	}
	all = append(all, signatureInputs(good, payload)...)
	refuse("J16", "exp twice", "token_malformed", signed(header, strings.Replace(payload, "{", `{"exp":1,`, 1)))
	refuse("J16", "EXP", "token_malformed", signed(header, strings.Replace(payload, "{", `{"EXP":9999999999,`, 1)))
	refuse("J16", "alg twice", "token_malformed", signed(`{"alg":"none","kid":"main","alg":"HS256"}`, payload))
	for name, v := range map[string]any{"missing": nil, "empty": "", "a number": 7, "a list": []string{"42"}, "a wildcard": "#", "NUL": "a\x00#", "1 KiB": strings.Repeat("a", 1024)} {
		refuse("J18", "sub "+name, "token_bad_claims", other("sub", v))
	}
	refuse("J20", "an ID token", "token_bad_claims", other("token_use", "id"))
	refuse("J20", "a refresh token", "token_bad_claims", signed(`{"alg":"HS256","kid":"main","typ":"refresh+jwt"}`, payload))
	return append(all,
		input{id: "J27", name: "one token on too many connections", counts: once("session_limit"), send: oneTooMany},
		input{
			id: "J28", name: "a foreign page with the cookie", counts: once("bad_origin"),
			send: refusedBy(post("orders.1", marker, "Cookie: session="+good, "Origin: https://evil.test"), 403, "bad_origin"),
		},
		input{
			id: "J28", name: "a foreign page without an origin", counts: once("bad_origin"),
			send: refusedBy(upgradeWith("Cookie: session="+good, "Sec-Fetch-Site: cross-site"), 403, "bad_origin"),
		})
}

// signatureInputs are good tokens but for their signatures.
func signatureInputs(good, payload string) []input {
	var all []input
	refuse := func(id, name, code, token string) {
		all = append(all, input{id: id, name: name, counts: once(code), send: refusedBy(post("orders.1", marker, bearer(token)), 401, code)})
	}
	text := good[:strings.LastIndexByte(good, '.')]
	flipped := mac(secret, text)
	flipped[0] ^= 1
	refuse("J12", "another key", "token_bad_signature", signedWith(strings.Repeat("f", 32), `{"alg":"HS256","kid":"main"}`, payload))
	refuse("J12", "one bit flipped", "token_bad_signature", text+"."+base64URL.EncodeToString(flipped))
	refuse("J12", "cut short", "token_bad_signature", text+"."+base64URL.EncodeToString(mac(secret, text)[:31]))
	refuse("J12", "empty", "token_bad_signature", text+".")
	refuse("J12", "padded", "token_malformed", good+"=")
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(good) - 1
	refuse("J14", "the last character is not canonical", "token_malformed", good[:last]+string(alphabet[strings.IndexByte(alphabet, good[last])+1]))
	head := base64URL.EncodeToString([]byte(`{"alg":"ES256","kid":"es"}`)) + "." + base64URL.EncodeToString([]byte(payload)) + "."
	n := elliptic.P256().Params().N.FillBytes(make([]byte, 32))
	refuse("J23", "r = s = 0", "token_bad_signature", head+base64URL.EncodeToString(make([]byte, 64)))
	refuse("J23", "r = s = n", "token_bad_signature", head+base64URL.EncodeToString(append(n, n...)))
	return all
}

// oneTooMany opens sessions of a user who may have three.
func oneTooMany(t *testing.T, s *stand) {
	few := token(t, "few", rights{"limits": map[string]any{"sessions": 3}})
	var open []*wire
	for range 3 {
		open = append(open, connected(t, s, few))
	}
	w := upgraded(t, s)
	w.packets(&protocol.Connect{Version: protocol.Version, Token: few})
	if h := w.end(); h.code != "session_limit" {
		t.Errorf("found %q", h.code)
	}
	for _, w := range open {
		if h := w.asks(); h.ended {
			t.Errorf("found %q in a session from before", h.code)
		}
		w.nc.Close()
	}
}
