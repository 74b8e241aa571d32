package web

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
	"path/filepath"
	"regexp"
	"testing"

	"ampoule/tools/netpeer"

	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/gofont/goregular"
)

// PageHost is the name under which Chromium asks for the page.
const PageHost = "page.example.org"

// What the page has.
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

// Page writes a site whose page has images of different sizes, fonts and scripts, and
// returns its folder.
func (c *Clients) Page() string {
	c.T.Helper()
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
			c.T.Fatal(err)
		}
		c.Write("site"+name, p.Bytes())
	}
	for i := range pageScripts {
		fmt.Fprintf(&b, "<script defer src=/js/%d.js></script>\n", i)
		c.Write(fmt.Sprintf("site/js/%d.js", i), []byte(fmt.Sprintf("window.ran.push(%d);\n", i)))
	}
	b.WriteString("<script type=module src=/js/main.js></script>\n</html>\n")
	c.Write("site/js/main.js", []byte(pageScript))
	c.Write("site/index.html", b.Bytes())
	c.Write("site/style.css", []byte("h1 { color: rgb(1, 2, 3); font-family: Regular }\n.mono { font-family: Mono }\n"+
		"@font-face { font-family: Regular; src: url(/font/regular.ttf) }\n@font-face { font-family: Mono; src: url(/font/mono.ttf) }\n"))
	c.Write("site/font/regular.ttf", goregular.TTF)
	c.Write("site/font/mono.ttf", gomonobold.TTF)
	return filepath.Join(c.Dir, "site")
}

// loaded is what the page says about itself.
type loaded struct {
	Images, Fonts, Scripts, Styles int
	Protocols                      map[string]int
	Errors                         []string
}

// Protocols of HTTP as Page and ALPN have them.
const (
	HTTP1 = "http/1.1"
	HTTP2 = "h2"
)

// Chromium loads the page of Page, which is the site of PageHost, over one of the
// protocols, and fails where it lacks anything or something is on the console.
func (c *Clients) Chromium(t *testing.T, protocol string) {
	t.Helper()
	var args []string
	if protocol == HTTP1 {
		args = []string{"--disable-http2"}
	}
	got := c.load(t, args)
	if got.Images != pageImages || got.Fonts != pageFonts || got.Scripts != pageScripts || got.Styles != 1 || len(got.Errors) > 0 {
		t.Errorf("loaded: %+v", got)
	}
	// The page, the style, the images, fonts and scripts.
	if want := 1 + 1 + pageImages + pageFonts + pageScripts + 1; len(got.Protocols) != 1 || got.Protocols[protocol] < want {
		t.Errorf("over %v, want %d over %s", got.Protocols, want, protocol)
	}
}

// load loads the page and returns what it says about itself in the end.
func (c *Clients) load(t *testing.T, args []string) (result loaded) {
	t.Helper()
	pin := sha256.Sum256(c.leaf.RawSubjectPublicKeyInfo)
	all := []string{"--no-sandbox", "--disable-gpu", "--user-data-dir=" + t.TempDir(), "--host-resolver-rules=MAP * " + c.Addr(443),
		"--ignore-certificate-errors-spki-list=" + base64.StdEncoding.EncodeToString(pin[:]), "--enable-logging=stderr",
		"--timeout=60000", "--dump-dom"}
	out, err := c.Command("chromium-headless-shell", append(append(all, args...), "https://"+PageHost+"/")...)
	m := regexp.MustCompile(`<pre id="result">(.*)</pre>`).FindStringSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("chromium: %v\n%s", err, out)
	}
	if err := json.Unmarshal([]byte(html.UnescapeString(m[1])), &result); err != nil {
		t.Fatalf("%v: %s", err, m[1])
	}
	console := regexp.MustCompile(`(?m)^.*CONSOLE.*$`).FindAllString(out, -1)
	if len(console) != 1 || !regexp.MustCompile("the console is heard").MatchString(console[0]) {
		t.Errorf("the console says %q", console)
	}
	return result
}

// Settle keeps a peer's addresses as they are: when the one of IPv6 that Linux makes
// itself is there after a second, Chromium gives up all connections.
func Settle(t *testing.T, peer *netpeer.Linux) {
	t.Helper()
	err := peer.Do(func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0) })
	if err != nil {
		t.Fatal(err)
	}
}
