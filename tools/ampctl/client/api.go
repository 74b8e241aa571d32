package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"time"
)

// Status asks what runs.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	v := &Status{}
	var err error
	v.Raw, err = c.read(ctx, request{method: "GET", path: "/v1/status"}, v)
	return v, err
}

// Health asks whether the plane answers.
func (c *Client) Health(ctx context.Context) error {
	_, _, err := c.do(ctx, request{method: "GET", path: "/healthz"})
	return err
}

// Ready asks whether the appliance is ready; the error says what is missing.
func (c *Client) Ready(ctx context.Context) error {
	_, _, err := c.do(ctx, request{method: "GET", path: "/readyz"})
	return err
}

// Metrics asks for the metrics, in Prometheus' text format.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	b, _, err := c.do(ctx, request{method: "GET", path: "/metrics"})
	return b, err
}

// Log asks for the last lines of the log.
func (c *Client) Log(ctx context.Context, lines int) ([]byte, error) {
	b, _, err := c.do(ctx, request{method: "GET", path: "/v1/log?lines=" + strconv.Itoa(lines)})
	return b, err
}

// Level asks for the level of the console's log.
func (c *Client) Level(ctx context.Context) (string, error) {
	b, _, err := c.do(ctx, request{method: "GET", path: "/v1/log/level"})
	return string(bytes.TrimSpace(b)), err
}

// SetLevel changes it, and returns the new one.
func (c *Client) SetLevel(ctx context.Context, level string) (string, error) {
	b, _, err := c.do(ctx, request{method: "PUT", path: "/v1/log/level", body: []byte(level)})
	return string(bytes.TrimSpace(b)), err
}

// Certificates asks for the generation in force.
func (c *Client) Certificates(ctx context.Context) (*Generation, error) {
	return c.generation(ctx, request{method: "GET", path: "/v1/certificates"})
}

func (c *Client) generation(ctx context.Context, r request) (*Generation, error) {
	v := &Generation{}
	var err error
	v.Raw, err = c.read(ctx, r, v)
	return v, err
}

func (c *Client) transaction(ctx context.Context, r request) (*Staged, error) {
	v := &Staged{}
	var err error
	v.Raw, err = c.read(ctx, r, v)
	return v, err
}

// Staged asks for what is staged.
func (c *Client) Staged(ctx context.Context) (*Staged, error) {
	return c.transaction(ctx, request{method: "GET", path: "/v1/staged"})
}

// Stage adds a value to the client's transaction.
func (c *Client) Stage(ctx context.Context, v Change) (*Staged, error) {
	r := request{method: "PUT", path: "/v1/staged/" + string(v.Kind) + "/" + url.PathEscape(v.Name), body: v.Data}
	if v.Remove {
		r.method, r.body = "DELETE", nil
	}
	return c.transaction(ctx, r)
}

// Validate asks what a commit would be refused for.
func (c *Client) Validate(ctx context.Context) (*Staged, error) {
	return c.transaction(ctx, request{method: "POST", path: "/v1/staged/validate"})
}

// Commit puts what is staged in the place of the generation base.
func (c *Client) Commit(ctx context.Context, base uint64) (*Generation, error) {
	return c.generation(ctx, request{method: "POST", path: "/v1/staged/commit", base: &base})
}

// Abort has the plane forget what is staged, whoever did it.
func (c *Client) Abort(ctx context.Context) error {
	_, _, err := c.do(ctx, request{method: "POST", path: "/v1/staged/abort"})
	return err
}

// Rollback puts the content of the generation before in the place of base.
func (c *Client) Rollback(ctx context.Context, base uint64) (*Generation, error) {
	return c.generation(ctx, request{method: "POST", path: "/v1/certificates/rollback", base: &base})
}

// Crash asks what the last run that crashed said, as JSON.
func (c *Client) Crash(ctx context.Context) (json.RawMessage, error) {
	var record map[string]any
	return c.read(ctx, request{method: "GET", path: "/v1/crash"}, &record)
}

// Profile asks for a profile in the format of go tool pprof: heap or goroutine.
func (c *Client) Profile(ctx context.Context, name string) ([]byte, error) {
	b, _, err := c.do(ctx, request{method: "GET", path: "/v1/pprof/" + url.PathEscape(name)})
	return b, err
}

// Capture bounds a capture of packets; zero values leave it to the plane.
type Capture struct {
	Bytes, Snap, Port int
	For               time.Duration
}

// StartCapture begins one, in the place of the one before.
func (c *Client) StartCapture(ctx context.Context, o Capture) error {
	q := url.Values{}
	for name, n := range map[string]int{"bytes": o.Bytes, "snap": o.Snap, "port": o.Port, "seconds": int(o.For / time.Second)} {
		if n != 0 {
			q.Set(name, strconv.Itoa(n))
		}
	}
	path := "/v1/capture"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	_, _, err := c.do(ctx, request{method: "POST", path: path})
	return err
}

// Captured returns what was captured so far, as a pcap file, and how many frames
// had no room in it.
func (c *Client) Captured(ctx context.Context) (pcap []byte, lost uint64, err error) {
	b, header, err := c.do(ctx, request{method: "GET", path: "/v1/capture"})
	if err != nil {
		return nil, 0, err
	}
	lost, _ = strconv.ParseUint(header.Get("Ampoule-Frames-Lost"), 10, 64) // 0 where it is not said
	return b, lost, nil
}

// EndCapture ends the capture and frees it.
func (c *Client) EndCapture(ctx context.Context) error {
	_, _, err := c.do(ctx, request{method: "DELETE", path: "/v1/capture"})
	return err
}
