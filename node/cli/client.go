package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const requestTime = 10 * time.Second

// client reaches the leading master and the agents.
type client struct {
	http   *http.Client
	leader string // HOST:PORT
}

func newClient() *client {
	return &client{http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, ResponseHeaderTimeout: requestTime},
	}}
}

// dial finds the leading master through any of the masters given.
func (c *common) dial(ctx context.Context) (*client, error) {
	cl := newClient()
	var errs []error
	for _, m := range c.masters {
		addr, err := masterAddress(m)
		if err != nil {
			return nil, usageError{fmt.Errorf("--master: %w", err)}
		}
		leader, err := cl.resolve(ctx, addr)
		if err == nil {
			cl.leader = leader
			return cl, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// masterAddress completes HOST with Mesos's port.
func masterAddress(s string) (string, error) {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "http://"), "/")
	if s == "" {
		return "", errors.New("an empty address is not HOST or HOST:PORT")
	}
	if host, port, err := net.SplitHostPort(s); err == nil {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "", fmt.Errorf("port %q of %q is not between 1 and 65535", port, s)
		}
		return net.JoinHostPort(host, port), nil
	}
	if strings.ContainsAny(s, "/ ") {
		return "", fmt.Errorf("%q is not HOST or HOST:PORT", s)
	}
	return net.JoinHostPort(strings.Trim(s, "[]"), "5050"), nil
}

// resolve asks one master for the leading one.
func (cl *client) resolve(ctx context.Context, addr string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/redirect", nil)
	if err != nil {
		return "", err
	}
	resp, err := cl.http.Do(req)
	if err != nil {
		return "", unreachable("master", addr, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect {
		return "", answerError("master "+addr, resp)
	}
	to, err := req.URL.Parse(resp.Header.Get("Location"))
	if err != nil || to.Host == "" {
		return "", fmt.Errorf("master %s: location %q of the leader is not an address", addr, resp.Header.Get("Location"))
	}
	return to.Host, nil
}

// unreachable says in one line what could not be reached, without Go's repetition of the URL.
func unreachable(what, addr string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Errorf("%s %s does not answer: %w", what, addr, err)
}

// answerError makes an error of an unwanted answer and its text.
func answerError(who string, resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	msg := strings.TrimSpace(string(text))
	if msg == "" {
		msg = resp.Status
	}
	return &httpError{who, resp.StatusCode, msg}
}

type httpError struct {
	who    string
	status int
	text   string
}

func (e *httpError) Error() string {
	if e.who == "" {
		return e.text
	}
	return e.who + ": " + e.text
}

// get asks addr for path and returns the open answer if its status is 200.
func (cl *client) get(ctx context.Context, addr, path string, query url.Values) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: addr, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := cl.http.Do(req)
	if err != nil {
		return nil, unreachable("node", addr, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, answerError(addr+path, resp)
	}
	return resp, nil
}

// getJSON decodes the answer into v.
func (cl *client) getJSON(ctx context.Context, addr, path string, query url.Values, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*requestTime)
	defer cancel()
	resp, err := cl.get(ctx, addr, path, query)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("%s%s: %w", addr, path, err)
	}
	return nil
}

// postForm sends a form to the leading master.
func (cl *client) postForm(ctx context.Context, path string, form url.Values) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+cl.leader+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := cl.http.Do(req)
	if err != nil {
		return unreachable("master", cl.leader, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return answerError("master "+cl.leader, resp)
	}
	return nil
}
