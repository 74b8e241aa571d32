package mgmt_test

import (
	"encoding/json"
	"fmt"
	"math"
	"mime"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// contract is openapi.json.
type contract struct {
	Paths      map[string]map[string]json.RawMessage
	Components struct{ Schemas map[string]*schema }
}

type operation struct {
	Role      string `json:"x-role"`
	Responses map[string]struct {
		Content map[string]struct{ Schema *schema }
	}
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type, Format         string
	Pattern              string
	Enum                 []string
	Required             []string
	Properties           map[string]*schema
	AdditionalProperties *bool
	Items                *schema
	Minimum              *float64
}

func readContract(t *testing.T) *contract {
	t.Helper()
	b, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	c := &contract{}
	if err := json.Unmarshal(b, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// operations are all of them, by method and path.
func (c *contract) operations(t *testing.T) map[string]*operation {
	t.Helper()
	all := map[string]*operation{}
	for path, item := range c.Paths {
		for method, raw := range item {
			if method == "parameters" {
				continue
			}
			op := &operation{}
			if err := json.Unmarshal(raw, op); err != nil {
				t.Fatal(path, method, err)
			}
			all[strings.ToUpper(method)+" "+path] = op
		}
	}
	return all
}

// find finds the operation for a request.
func (c *contract) find(t *testing.T, method, path string) *operation {
	path, _, _ = strings.Cut(path, "?")
	if method == "HEAD" {
		method = "GET"
	}
	for key, op := range c.operations(t) {
		m, pattern, _ := strings.Cut(key, " ")
		re := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\{name\}`, "[^/]+") + "$")
		if m == method && (pattern == path || re.MatchString(path)) {
			return op
		}
	}
	return nil
}

// check says how a response is not as the contract has it.
func (c *contract) check(t *testing.T, method, path string, res *http.Response, body string) error {
	op := c.find(t, method, path)
	if op == nil {
		// What is not in the contract is nothing, and says so.
		if res.StatusCode != 404 && res.StatusCode != 405 && res.StatusCode != 401 && res.StatusCode != 403 {
			return fmt.Errorf("status %d for what is not in the contract", res.StatusCode)
		}
		return c.value(&schema{Ref: "#/components/schemas/Error"}, decode(body), "")
	}
	want, ok := op.Responses[fmt.Sprint(res.StatusCode)]
	if !ok {
		return fmt.Errorf("status %d is not in the contract", res.StatusCode)
	}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	content, ok := want.Content[kind]
	if len(want.Content) == 0 {
		if kind != "" || body != "" {
			return fmt.Errorf("a body of type %q", kind)
		}
		return nil
	}
	if !ok {
		return fmt.Errorf("type %q is not in the contract", kind)
	}
	if kind == "application/json" && method != "HEAD" {
		return c.value(content.Schema, decode(body), "")
	}
	return nil
}

func decode(body string) (v any) {
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		return err
	}
	return v
}

// value checks a value against a schema.
func (c *contract) value(s *schema, v any, at string) error {
	if s.Ref != "" {
		s = c.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	switch v := v.(type) {
	case map[string]any:
		if s.Type != "object" {
			return fmt.Errorf("%s: an object", at)
		}
		for _, k := range s.Required {
			if _, ok := v[k]; !ok {
				return fmt.Errorf("%s: no %s", at, k)
			}
		}
		for k, x := range v {
			p := s.Properties[k]
			if p == nil {
				return fmt.Errorf("%s: %s is not in the contract", at, k)
			}
			if err := c.value(p, x, at+"."+k); err != nil {
				return err
			}
		}
		return nil
	case []any:
		for i, x := range v {
			if err := c.value(s.Items, x, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
		return wrong(at, v, s.Type == "array")
	case string:
		_, err := time.Parse(time.RFC3339, v)
		return wrong(at, v, s.Type == "string" && (s.Enum == nil || slices.Contains(s.Enum, v)) &&
			regexp.MustCompile(s.Pattern).MatchString(v) && (s.Format != "date-time" || err == nil))
	case float64:
		return wrong(at, v, s.Type == "integer" && v == math.Trunc(v) && (s.Minimum == nil || v >= *s.Minimum))
	case bool:
		return wrong(at, v, s.Type == "boolean")
	}
	return wrong(at, v, false)
}

func wrong(at string, v any, ok bool) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%s: %v is not what the contract has", at, v)
}

// TestContract: each route is in the contract with its role, and each operation of
// the contract is a route.
func TestContract(t *testing.T) {
	r := start(t, nil)
	all := readContract(t).operations(t)
	for _, route := range r.server.Routes() {
		key := route.Method + " " + route.Path
		op := all[key]
		if op == nil {
			t.Errorf("%s is not in the contract", key)
			continue
		}
		if op.Role != route.Role.String() {
			t.Errorf("%s takes role %s, in the contract %s", key, route.Role, op.Role)
		}
		delete(all, key)
	}
	for key := range all {
		t.Errorf("%s is in the contract only", key)
	}
}
