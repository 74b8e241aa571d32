package guesttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"os"
	"regexp"
	"strconv"
	"testing"

	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/netpeer"

	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/gofont/goregular"
)

// What the page of TestChromium has.
const (
	pageImages  = 24
	pageScripts = 4
	pageFonts   = 2
)

// pageScript looks at what was loaded, when all is there, and writes it down.
const pageScript = `
addEventListener("load", () => {
	const result = {images: 0, fonts: 0, scripts: window.ran.length, styles: 0, protocols: {}, errors: window.failed};
	for (const i of document.images) if (i.complete && i.naturalWidth == 40 + Number(i.dataset.n)) result.images++;
	for (const f of document.fonts) if (f.status == "loaded") result.fonts++;
	if (getComputedStyle(document.querySelector("h1")).color == "rgb(1, 2, 3)") result.styles++;
	for (const e of performance.getEntriesByType("navigation").concat(performance.getEntriesByType("resource")))
		result.protocols[e.nextHopProtocol] = (result.protocols[e.nextHopProtocol] || 0) + 1;
	console.log("the console is heard");
	const pre = document.createElement("pre");
	pre.id = "result";
	pre.textContent = JSON.stringify(result);
	document.body.append(pre);
});
`

// page writes a site whose page has images of different sizes, fonts and scripts.
func (s *secure) page() {
	s.t.Helper()
	var b bytes.Buffer
	b.WriteString("<!doctype html>\n<html lang=en><meta charset=utf-8><title>Page</title>\n" +
		"<script>window.ran = []; window.failed = []; addEventListener('error', e => failed.push(e.target.src || e.message || 'error'), true);</script>\n" +
		"<link rel=stylesheet href=/style.css><link rel=icon href=/img/0.png>\n<h1>Page</h1><p class=mono>bold</p>\n")
	for i := range pageImages {
		name := fmt.Sprintf("/img/%d.png", i)
		fmt.Fprintf(&b, "<img src=%s alt='' data-n=%d>\n", name, i)
		m := image.NewRGBA(image.Rect(0, 0, 40+i, 200))
		for j := range m.Pix { // not to be compressed well
			m.Pix[j] = byte(j * j * (i + 7) >> 5)
		}
		m.Set(0, 0, color.White)
		var p bytes.Buffer
		if err := png.Encode(&p, m); err != nil {
			s.t.Fatal(err)
		}
		s.write("site"+name, p.Bytes())
	}
	for i := range pageScripts {
		fmt.Fprintf(&b, "<script defer src=/js/%d.js></script>\n", i)
		s.write(fmt.Sprintf("site/js/%d.js", i), []byte(fmt.Sprintf("window.ran.push(%d);\n", i)))
	}
	b.WriteString("<script type=module src=/js/main.js></script>\n</html>\n")
	s.write("site/js/main.js", []byte(pageScript))
	s.write("site/index.html", b.Bytes())
	s.write("site/style.css", []byte("h1 { color: rgb(1, 2, 3); font-family: Regular }\n.mono { font-family: Mono }\n"+
		"@font-face { font-family: Regular; src: url(/font/regular.ttf) }\n@font-face { font-family: Mono; src: url(/font/mono.ttf) }\n"))
	s.write("site/font/regular.ttf", goregular.TTF)
	s.write("site/font/mono.ttf", gomonobold.TTF)
}

// loaded is what the page says about itself.
type loaded struct {
	Images, Fonts, Scripts, Styles int
	Protocols                      map[string]int
	Errors                         []string
}

// TestChromium loads a page with images, fonts, style and scripts in Chromium, over
// both versions of HTTP, on a network of their own.
func TestChromium(t *testing.T) {
	first, image := newSecure(t, "chromium", "", "v1")
	for _, c := range []struct {
		machine  vm.Machine
		protocol string
		args     []string
	}{
		{vm.Q35, "h2", nil},
		{vm.MicroVM, "http/1.1", []string{"--disable-http2"}},
	} {
		t.Run(c.protocol[len(c.protocol)-1:], func(t *testing.T) {
			segment := linuxSegment(t)
			settle(t, segment.Peer.(*netpeer.Linux))
			s := *first
			s.t = t
			s.addr = func(port int) string { return "10.0.2.15:" + strconv.Itoa(port) }
			s.run = segment.Peer.(*netpeer.Linux).Start
			s.boot(vm.Config{Image: image, Machine: c.machine, CPU: guest.CPU("v1"), RAM: 32, Net: segment.Net()})
			got := s.chromium(c.args...)
			if got.Images != pageImages || got.Fonts != pageFonts || got.Scripts != pageScripts || got.Styles != 1 || len(got.Errors) > 0 {
				t.Errorf("loaded: %+v", got)
			}
			// The page, the style, the images, fonts and scripts.
			if want := 1 + 1 + pageImages + pageFonts + pageScripts + 1; len(got.Protocols) != 1 || got.Protocols[c.protocol] < want {
				t.Errorf("over %v, want %d over %s", got.Protocols, want, c.protocol)
			}
		})
	}
}

// settle keeps the peer's addresses as they are: when the one of IPv6 that Linux makes
// itself is there after a second, Chromium gives up all connections.
func settle(t *testing.T, peer *netpeer.Linux) {
	t.Helper()
	err := peer.Do(func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0) })
	if err != nil {
		t.Fatal(err)
	}
}

// chromium loads the page and returns what it says about itself in the end.
func (s *secure) chromium(args ...string) (result loaded) {
	s.t.Helper()
	pin := sha256.Sum256(s.leaf.RawSubjectPublicKeyInfo)
	all := []string{"--no-sandbox", "--disable-gpu", "--user-data-dir=" + s.t.TempDir(), "--host-resolver-rules=MAP * 10.0.2.15",
		"--ignore-certificate-errors-spki-list=" + base64.StdEncoding.EncodeToString(pin[:]), "--enable-logging=stderr",
		"--timeout=60000", "--dump-dom"}
	out, err := s.command("chromium-headless-shell", append(append(all, args...), "https://example.org/")...)
	m := regexp.MustCompile(`<pre id="result">(.*)</pre>`).FindStringSubmatch(out)
	if err != nil || m == nil {
		s.t.Fatalf("chromium: %v\n%s", err, out)
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(m[1])), &result); err != nil {
		s.t.Fatalf("%v: %s", err, m[1])
	}
	console := regexp.MustCompile(`(?m)^.*CONSOLE.*$`).FindAllString(out, -1)
	if len(console) != 1 || !regexp.MustCompile("the console is heard").MatchString(console[0]) {
		s.t.Errorf("the console says %q", console)
	}
	return result
}
