package shop_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	carillon "github.com/carillon-mq/carillon/sdk/go"
)

// order is what the shop pushes.
type order struct {
	Number  int    `json:"number"`
	User    string `json:"user"`
	Status  string `json:"status"`
	Version int    `json:"version"`
}

// page is a customer's page: a client with the token of token.php that follows topic.
func page(t *testing.T, broker, token, topic string) *carillon.Subscription {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := carillon.Dial(ctx, "ws://"+broker+"/ws", carillon.WithToken(token))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.WithoutCancel(t.Context())) })
	s := c.Subscribe(topic)
	if err := s.Ready(ctx); err != nil && !errors.Is(err, carillon.ErrForbidden) {
		t.Fatal(err)
	}
	return s
}

// next is the next order that s is told of.
func next(t *testing.T, s *carillon.Subscription) order {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for m, err := range s.Messages(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		var o order
		if err := json.Unmarshal(m.Payload, &o); err != nil {
			t.Fatalf("%s: %v", m.Payload, err)
		}
		return o
	}
	t.Fatal("no message came")
	return order{}
}

func change(office *visitor, number, status string) answer {
	office.t.Helper()
	return office.post("backoffice.php", url.Values{"csrf": {office.csrf("backoffice.php")}, "number": {number}, "status": {status}})
}

func TestAChangeInTheBackOfficeReachesThatCustomersPageAlone(t *testing.T) {
	broker := startBroker(t)
	shop := startShop(t, broker)
	ada, zoe, office := logIn(t, shop, "42"), logIn(t, shop, "zoe.k@example.com"), logIn(t, shop, "office")
	adas := page(t, broker, ada.token(), "$user.42.orders")
	zoes := page(t, broker, zoe.token(), "$user.zoe%2Ek@example%2Ecom.orders")

	if got := change(office, "1002", "shipped"); got.Header.Get("Location") != "backoffice.php?saved=1002" {
		t.Fatalf("the change: %s, to %q\n%s", got.Status, got.Header.Get("Location"), got.body)
	}
	if got, want := next(t, adas), (order{1002, "42", "shipped", 2}); got != want {
		t.Errorf("ada was told %+v, want %+v", got, want)
	}
	if got := change(office, "1003", "packed"); got.Header.Get("Location") != "backoffice.php?saved=1003" {
		t.Fatalf("the change: %s, to %q\n%s", got.Status, got.Header.Get("Location"), got.body)
	}
	// The first that zoe is told of is her own: ada's, which came before, was not for her.
	if got, want := next(t, zoes), (order{1003, "zoe.k@example.com", "packed", 2}); got != want {
		t.Errorf("zoe was told %+v, want %+v", got, want)
	}
	if body := ada.get("orders.php").body; !strings.Contains(body, `"number":1002`) || !strings.Contains(body, "shipped") || strings.Contains(body, "1003") {
		t.Errorf("ada's orders: %s", body)
	}
}

func TestATokenOfOneCustomerOpensNothingOfAnother(t *testing.T) {
	broker := startBroker(t)
	shop := startShop(t, broker)
	token := logIn(t, shop, "zoe.k@example.com").token()
	for _, filter := range []string{"$user.42.orders", "$user.42.>", "$user.*.orders", "$user.>", "orders.>", ">"} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		c, err := carillon.Dial(ctx, "ws://"+broker+"/ws", carillon.WithToken(token))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Subscribe(filter).Ready(ctx); !errors.Is(err, carillon.ErrForbidden) {
			t.Errorf("subscribing to %s: %v, want forbidden", filter, err)
		}
		if _, err := c.Publish(ctx, "$user.zoe%2Ek@example%2Ecom.orders", 1); !errors.Is(err, carillon.ErrForbidden) {
			t.Errorf("publishing: %v, want forbidden", err)
		}
		c.Close(ctx)
		cancel()
	}
}

func TestTheShopsDoors(t *testing.T) {
	broker := freeAddr(t) // nobody is there
	shop := startShop(t, broker)
	ada, office := logIn(t, shop, "42"), logIn(t, shop, "office")
	form := func(csrf, number, status string) url.Values {
		return url.Values{"csrf": {csrf}, "number": {number}, "status": {status}}
	}
	officeCSRF := office.csrf("backoffice.php")
	for _, tc := range []struct {
		name   string
		got    answer
		status int
	}{
		{"a token for nobody", visit(t, shop).post("token.php", url.Values{}), 401},
		{"a token by a link", ada.get("token.php"), 405},
		{"the orders of nobody", visit(t, shop).get("orders.php"), 401},
		{"the page of nobody", visit(t, shop).get(""), 303},
		{"a wrong password", visit(t, shop).post("login.php", url.Values{"user": {"42"}, "password": {"Demo"}}), 403},
		{"an unknown user", visit(t, shop).post("login.php", url.Values{"user": {"43"}, "password": {"demo"}}), 403},
		{"the back office for a customer", ada.get("backoffice.php"), 403},
		{"a change by a customer", ada.post("backoffice.php", form(ada.csrf(""), "1002", "shipped")), 403},
		{"a change without the form's token", office.post("backoffice.php", form("", "1002", "shipped")), 403},
		{"a change with another session's token", office.post("backoffice.php", form(ada.csrf(""), "1002", "shipped")), 403},
		{"a status that does not exist", office.post("backoffice.php", form(officeCSRF, "1002", "lost")), 400},
		{"an order that does not exist", office.post("backoffice.php", form(officeCSRF, "7", "shipped")), 404},
	} {
		if tc.got.StatusCode != tc.status {
			t.Errorf("%s: status %d, want %d\n%s", tc.name, tc.got.StatusCode, tc.status, tc.got.body)
		}
	}
	if body := ada.get("orders.php").body; strings.Contains(body, "shipped") {
		t.Errorf("an order was changed: %s", body)
	}
	if body := logIn(t, shop, "zoe.k@example.com").get("").body; strings.Contains(body, "<bamboo>") || !strings.Contains(body, "&lt;bamboo&gt;") {
		t.Error("what is in an order becomes part of the page")
	}
	cookie := visit(t, shop).post("login.php", url.Values{"user": {"42"}, "password": {"demo"}}).Header.Get("Set-Cookie")
	if !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Lax") {
		t.Errorf("the session's cookie: %s", cookie)
	}
	if policy := ada.get("").Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the page's policy: %s", policy)
	}
	if got := ada.post("logout.php", url.Values{"csrf": {ada.csrf("")}}); got.StatusCode != http.StatusSeeOther {
		t.Errorf("logging out: %s", got.Status)
	}
	if got := ada.post("token.php", url.Values{}); got.StatusCode != 401 {
		t.Errorf("a token after logging out: %s", got.Status)
	}
}
