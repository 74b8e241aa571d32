package site

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// FuzzRanges has any Range field end in ranges of what there is, apart from each
// other, or in none; and compares with a slow reading of the same field.
func FuzzRanges(f *testing.F) {
	for _, s := range []string{"bytes=0-4", "bytes=-5,3-", "bytes=0-0,,5-6 , 100-", "bytes=5-4", "x", "bytes=", "bytes=0-99999999999999999999", "bytes=1-1,3-3,500-600"} {
		f.Add([]byte(s), uint16(1000))
	}
	f.Fuzz(func(t *testing.T, value []byte, size uint16) {
		n := int64(size)
		if n == 0 {
			return
		}
		var spans [MaxRanges]span
		count, verdict := parseRanges(value, n, &spans)
		if (verdict == partial) != (count > 0) {
			t.Fatalf("%d ranges, verdict %d", count, verdict)
		}
		covered := make([]bool, n)
		for i, s := range spans[:count] {
			if s.first < 0 || s.first >= s.end || s.end > n {
				t.Fatalf("%v of %d", s, n)
			}
			for _, o := range spans[:i] {
				if s.first <= o.end+maxGap && o.first <= s.end+maxGap {
					t.Fatalf("%v and %v are two", s, o)
				}
			}
			for j := s.first; j < s.end; j++ {
				covered[j] = true
			}
		}
		if verdict != partial {
			return
		}
		// Each octet that is asked for is among those that are sent.
		for _, spec := range strings.Split(string(value[6:]), ",") {
			first, last, _ := strings.Cut(strings.Trim(spec, " \t"), "-")
			a, errA := strconv.ParseInt(first, 10, 64)
			b, errB := strconv.ParseInt(last, 10, 64)
			if first == "" && errB == nil {
				a, b = max(0, n-b), n-1
			} else if errA != nil || first[0] == '+' {
				continue
			} else if errB != nil {
				b = n - 1
			}
			for j := a; j <= min(b, n-1); j++ {
				if !covered[j] {
					t.Fatalf("%q of %d: %d is not there: %v", value, n, j, spans[:count])
				}
			}
		}
	})
}

// FuzzCoding compares weights with those of a slow reading.
func FuzzCoding(f *testing.F) {
	for _, s := range []string{"gzip, br;q=0.5", "*;q=0", "identity;q=0,*", "gzip;q=1.000;x", "a;b=\"c,d\"", "x-gzip;q=0.001", "zstd ; Q=0.12"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		got := weigh(value)
		named := map[string]int{}
		for _, item := range strings.Split(string(value), ",") {
			name, q, there := strings.Cut(item, ";")
			name, q = strings.ToLower(strings.Trim(name, " \t")), strings.ToLower(strings.Trim(q, " \t"))
			w := 2000
			if there && q != "" {
				number, ok := strings.CutPrefix(q, "q=")
				x, err := strconv.ParseFloat(number, 64)
				if !ok || err != nil || x < 0 || x > 1 || len(number) > 5 || strings.Trim(number, "0123456789.") != "" || number[0] == '.' {
					continue
				}
				w = int(x*2000 + 0.5)
			}
			if name == "x-gzip" {
				name = "gzip"
			}
			named[name] = w
		}
		for c := Identity; c < codings; c++ {
			want, ok := named[c.String()]
			if star, all := named["*"]; !ok && all {
				want = star
			} else if !ok && c == Identity {
				want = 1
			}
			// A name with letters that only Unicode folds is not a coding's.
			if got[c] != want && isASCII(value) {
				t.Errorf("%q: %s %d, want %d", value, c, got[c], want)
			}
		}
	})
}

func isASCII(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c >= 0x80 }) }

// FuzzPath compares normal paths with those of a slow reading, and has the same path
// come out when a normal one goes in.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/%2e%2E/x", "//a/./b/", "/a%2fb", "/..", "/a/..", "/.a/..b/c.", "/%zz", "/%00", "/a#b", "x"} {
		f.Add([]byte(s))
	}
	long := "/" + strings.Repeat("a", MaxPath+10)
	for _, s := range []string{long + "/../x", long + "%00", long + "/../../x", long + "%2e/%2e%2e/%2fb"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, path []byte) {
		if len(path) == 0 || path[0] != '/' || len(path) > maxOdd {
			return
		}
		var b [maxOdd]byte
		n, ok := normalize(b[:], path)
		want, wantOK := slowPath(string(path))
		if ok != wantOK || ok && string(b[:n]) != want {
			t.Fatalf("%q: %q %t, want %q %t", path, b[:max(n, 0)], ok, want, wantOK)
		}
		if ok {
			again, ok := normalize(make([]byte, maxOdd), []byte(escape(want)))
			if !ok || again != n {
				t.Errorf("%q is not normal", want)
			}
		}
	})
}

// escape escapes all but slashes and letters.
func escape(s string) string {
	return strings.ReplaceAll(url.PathEscape(s), "%2F", "/")
}

// slowPath normalizes a path with the standard library's decoder and a list of
// segments.
func slowPath(path string) (string, bool) {
	if strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '#' || c == '?' }) {
		return "", false
	}
	decoded, err := url.PathUnescape(path)
	if err != nil || strings.Contains(decoded, "\x00") {
		return "", false
	}
	segments := strings.Split(decoded[1:], "/")
	var out []string
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "..":
			if len(out) == 0 {
				return "", false
			}
			out = out[:len(out)-1]
		case s == "." || s == "":
		default:
			if out = append(out, s); last {
				return "/" + strings.Join(out, "/"), true
			}
		}
	}
	if len(out) == 0 {
		return "/", true
	}
	return "/" + strings.Join(out, "/") + "/", true
}

// FuzzDate compares with package http's reading of the forms in which both agree.
func FuzzDate(f *testing.F) {
	for _, s := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 31 Feb 1994 08:49:37 GMT", "Thursday, 01-Jan-70 00:00:00 GMT"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		unix, ok := ParseDate(b)
		if !ok {
			return
		}
		at, err := http.ParseTime(string(b))
		// Leap seconds are in HTTP's grammar and not in package time's.
		if err == nil && at.Unix() != unix && at.Year() != 2069 {
			t.Errorf("%q: %d, want %d", b, unix, at.Unix())
		}
		if year := time.Unix(unix, 0).UTC().Year(); err != nil && !bytes.Contains(b, []byte(":60")) && year < 1969 {
			t.Errorf("%q: %d; package http: %v", b, unix, err)
		}
		if out := AppendDate(nil, unix); unix > 0 {
			if back, ok := ParseDate(out); !ok || back != unix {
				t.Errorf("%q: back as %q", b, out)
			}
		}
	})
}

// FuzzAnswer has any request end in one whole response, as a client reads it.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"GET /\nRange: bytes=0-4,500-", "HEAD /a%20b/c\nIf-None-Match: *", "OPTIONS *", "GET /dir?a=b", "POST /", "GET /x\nAccept-Encoding: br", "GET /\nHost: [::1"} {
		f.Add(s)
	}
	table := sample(f)
	f.Fuzz(func(t *testing.T, request string) {
		if line, _, _ := strings.Cut(request, "\n"); !strings.Contains(line, " ") {
			return
		}
		resp, body, err := exchange(table, request)
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		if n := resp.ContentLength; n > 0 && !strings.HasPrefix(request, "HEAD ") && int64(len(body)) != n {
			t.Errorf("%q: %d octets, Content-Length %d", request, len(body), n)
		}
	})
}
