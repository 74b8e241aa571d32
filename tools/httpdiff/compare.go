package httpdiff

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// compared are the fields that matter, by status. Those of errors are their type,
// and what tells the client how to go on.
func compared(status int) []string {
	switch status {
	case 200:
		return []string{"Content-Type", "Content-Length", "Content-Encoding", "Vary", "Last-Modified", "Cache-Control", "ETag"}
	case 206:
		return []string{"Content-Type", "Content-Length", "Content-Encoding", "Content-Range", "Vary", "Last-Modified", "Cache-Control", "ETag"}
	case 304:
		return []string{"Content-Length", "Content-Encoding", "Vary", "Last-Modified", "Cache-Control", "ETag"}
	case 404:
		return []string{"Content-Type", "Content-Length", "Content-Encoding", "Vary"}
	}
	return []string{"Location", "Allow", "Content-Range", "Content-Encoding"}
}

// Difference says how two responses to q differ; "" that they don't. Entity tags are
// each server's own, so only that there is one is compared, and that it is strong.
func Difference(q *Request, ours, theirs *Response) string {
	if ours.Status != theirs.Status {
		return "status"
	}
	a, several, err := ranges(ours)
	if err != nil {
		return "ours: " + err.Error()
	}
	b, both, err := ranges(theirs)
	if err != nil {
		return "theirs: " + err.Error()
	}
	if several && both {
		if !slices.EqualFunc(a, b, func(a, b part) bool { return a.field == b.field && a.typ == b.typ && bytes.Equal(a.body, b.body) }) {
			return "ranges"
		}
	}
	for _, name := range compared(ours.Status) {
		x, y := ours.Header.Values(name), theirs.Header.Values(name)
		switch {
		case name == "ETag" && len(x) == 1 && len(y) == 1 && x[0][0] == '"' && y[0][0] == '"':
		case several && both && (name == "Content-Type" || name == "Content-Length"): // they hold the boundary
		case !slices.Equal(x, y):
			return name
		}
	}
	switch ours.Status {
	case 200, 206, 404:
		if !(several && both) && !bytes.Equal(ours.Body, theirs.Body) {
			return "body"
		}
	}
	// Last, since it is the one thing in which many are known to differ.
	if ours.Status == 200 && ours.Header.Get("Accept-Ranges") != theirs.Header.Get("Accept-Ranges") {
		return "Accept-Ranges"
	}
	return ""
}

// part is one range of a response.
type part struct {
	field, typ string // Content-Range and Content-Type
	body       []byte
}

// span returns the first and last octet, and of how many.
func (p *part) span() (first, last, size int, err error) {
	_, err = fmt.Sscanf(p.field, "bytes %d-%d/%d", &first, &last, &size)
	return first, last, size, err
}

// ranges takes a 206 apart; several says that it is in multipart/byteranges.
func ranges(r *Response) (parts []part, several bool, err error) {
	if r.Status != 206 {
		return nil, false, nil
	}
	typ, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || typ != "multipart/byteranges" {
		return []part{{r.Header.Get("Content-Range"), r.Header.Get("Content-Type"), r.Body}}, false, err
	}
	in := multipart.NewReader(bytes.NewReader(r.Body), params["boundary"])
	for {
		p, err := in.NextRawPart()
		if err == io.EOF {
			return parts, true, nil
		}
		if err != nil {
			return nil, true, err
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return nil, true, err
		}
		parts = append(parts, part{p.Header.Get("Content-Range"), p.Header.Get("Content-Type"), b})
	}
}

// Parts are the ranges in the body of a 206 with that Content-Type.
func Parts(typ string, body []byte) (all [][]byte, err error) {
	parts, _, err := ranges(&Response{Status: 206, Header: http.Header{"Content-Type": {typ}}, Body: body})
	for _, p := range parts {
		all = append(all, p.body)
	}
	return all, err
}

// inside says whether each range of a response is what the whole has there, and
// which of its octets there are.
func inside(r *Response, whole []byte) (covered []bool, ok bool) {
	covered = make([]bool, len(whole))
	parts, _, err := ranges(r)
	for i := range parts {
		first, last, size, bad := parts[i].span()
		if bad != nil || size != len(whole) || first > last || last >= size || !bytes.Equal(parts[i].body, whole[first:last+1]) {
			return nil, false
		}
		for j := first; j <= last; j++ {
			covered[j] = true
		}
	}
	return covered, err == nil && len(parts) > 0
}

// specs are the ranges that a request asks for, of a whole of so many octets: as
// RFC 9110, section 14.1.2, reads them. ok is false when the field is malformed.
func specs(q *Request, size int) (all [][2]int, ok bool) {
	list, ok := strings.CutPrefix(q.Get("Range"), "bytes=")
	if strings.Trim(list, ", \t") == "" {
		return nil, false
	}
	for _, s := range strings.Split(list, ",") {
		if s = strings.Trim(s, " \t"); s == "" {
			continue
		}
		a, b, dash := strings.Cut(s, "-")
		first, errA := strconv.ParseUint(a, 10, 62)
		last, errB := strconv.ParseUint(b, 10, 62)
		huge := func(s string) bool { return len(s) > 18 && strings.Trim(s, "0123456789") == "" }
		if huge(a) {
			first, errA = 1<<62, nil
		}
		if huge(b) {
			last, errB = 1<<62, nil
		}
		switch {
		case !dash || a != "" && errA != nil || b != "" && errB != nil || a == "" && b == "" || a != "" && b != "" && last < first:
			return nil, false
		case a == "":
			all = append(all, [2]int{size - min(int(last), size), size - 1})
		case b == "":
			all = append(all, [2]int{int(first), size - 1})
		default:
			all = append(all, [2]int{int(first), min(int(last), size-1)})
		}
	}
	return slices.DeleteFunc(all, func(s [2]int) bool { return s[0] > s[1] }), ok
}

// Ask puts a request to both servers.
func Ask(ours, theirs *Client, q *Request) (*Case, error) {
	c := &Case{Request: q}
	var err error
	if c.Ours, err = ours.Do(q); err != nil {
		return nil, fmt.Errorf("ours: %w", err)
	}
	if c.Theirs, err = theirs.Do(q); err != nil {
		return nil, fmt.Errorf("theirs: %w", err)
	}
	if c.How = Difference(q, c.Ours, c.Theirs); c.How == "" || q.Get("Range") == "" {
		return c, nil
	}
	whole := &Request{Method: "GET", Target: q.Target}
	for _, f := range q.Fields {
		if f[0] == "Accept-Encoding" {
			whole.Fields = append(whole.Fields, f)
		}
	}
	r, err := ours.Do(whole)
	if err == nil {
		c.Whole = r.Body
	}
	return c, err
}

// Result is what came of many requests.
type Result struct {
	Equal       int
	Used        map[string]int // accepted differences by name
	Status      map[int]int    // of ours
	Unexplained []*Case
}

// Run puts n requests to both servers. Beside the differences that are always
// accepted there may be more.
func Run(ours, theirs *Client, g *Generator, n int, more ...Accepted) (*Result, error) {
	r := &Result{Used: map[string]int{}, Status: map[int]int{}}
	all := slices.Concat(accepted(), more)
	for range n {
		c, err := Ask(ours, theirs, g.Next())
		if err != nil {
			return nil, err
		}
		r.Status[c.Ours.Status]++
		if c.How == "" {
			r.Equal++
			continue
		}
		if i := slices.IndexFunc(all, func(a Accepted) bool { return a.applies(c) }); i >= 0 {
			r.Used[all[i].Name]++
		} else {
			r.Unexplained = append(r.Unexplained, c)
		}
	}
	return r, nil
}

func (c *Case) String() string {
	return fmt.Sprintf("%s differs: %s\n ours   %s\n theirs %s", c.How, c.Request, c.Ours, c.Theirs)
}

func (r *Result) String() string {
	return fmt.Sprintf("%d equal, %d differ for no accepted reason; accepted: %v; by status: %v", r.Equal, len(r.Unexplained), r.Used, r.Status)
}
