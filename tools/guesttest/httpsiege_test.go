package guesttest

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
	"ampoule/tools/boottest/vm"
	"ampoule/tools/guesttest/guest"
	"ampoule/tools/netpeer"
)

const httpSiegeTOML = `[network]
ipv4 = "10.0.2.15/24"
gateway4 = "10.0.2.2"
[management]
client_ca = "%[1]s/ca.pem"
[limits]
tcp_connections = 6000
[http]
access_log = "errors"
access_log_rate = 10
idle = "10m"
read = "5s"
write = "5s"
[[http.sites]]
folder = "%[1]s/www"
names = ["www.example.org"]
`

// httpSiege is the HTTP appliance with a management plane on a wire of its own.
type httpSiege struct {
	*vm.VM
	t    *testing.T
	s    *netpeer.Segment
	cert tls.Certificate
}

// bootHTTPSiege boots it with ram MiB, a page and a file of 1 MiB.
func bootHTTPSiege(t *testing.T, ram int) *httpSiege {
	t.Helper()
	ca := mgmttest.Root(t, "clients")
	h := &httpSiege{t: t, s: linuxSegment(t), cert: ca.Issue(t, mgmttest.Spec{Name: "read", Unit: "ampoule-read", Client: true}).TLS()}
	dir := t.TempDir()
	big := make([]byte, 1<<20)
	rand.Read(big)
	for name, content := range map[string][]byte{"ca.pem": ca.Cert(), "www/index.html": []byte("<title>hello</title>"), "www/big": big} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image := images.Configured(t, "http", "siege", fmt.Sprintf(httpSiegeTOML, dir), "v3")
	t.Cleanup(func() { os.Remove(image) })
	h.VM = guest.Boot(t, vm.Config{Image: image, Machine: vm.MicroVM, CPU: guest.CPU("v3"), RAM: ram, RNG: true, Net: h.s.Net()})
	waitLine(t, h.VM, time.Minute, " info serving ")
	return h
}

// dial connects, or ends the test.
func (h *httpSiege) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	c, err := h.s.DialContext(ctx, "tcp", "10.0.2.15:80")
	if err == nil {
		c.SetDeadline(time.Now().Add(10 * time.Minute)) // for all of the siege
	}
	return c, err
}

// crowd opens n connections, and closes them when the test is over.
func (h *httpSiege) crowd(n int) []net.Conn {
	h.t.Helper()
	all, next := make([]net.Conn, n), make(chan int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range next {
				c, err := h.dial()
				if err != nil {
					h.t.Errorf("connection %d: %v", i, err)
					return
				}
				all[i] = c
			}
		})
	}
	for i := range n {
		if h.t.Failed() {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	h.t.Cleanup(func() {
		for _, c := range all {
			if c != nil {
				c.Close()
			}
		}
	})
	if h.t.Failed() {
		h.t.FailNow()
	}
	return all
}

// status asks on c and returns what comes back.
func (h *httpSiege) status(c net.Conn, request string) (int, error) {
	if _, err := io.WriteString(c, request); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

const askPage = "GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n"

// served has clients with connections of their own served, and says how long the
// slowest took.
func (h *httpSiege) served(while string) {
	h.t.Helper()
	slowest := time.Duration(0)
	for range 10 {
		began := time.Now()
		c, err := h.dial()
		if err != nil {
			h.t.Fatalf("while %s: %v", while, err)
		}
		status, err := h.status(c, askPage)
		c.Close()
		if status != 200 || err != nil {
			h.t.Fatalf("while %s: %d, %v", while, status, err)
		}
		slowest = max(slowest, time.Since(began))
	}
	h.t.Logf("while %s: served in %v, heap %d KB", while, slowest, h.metric("go_memstats_heap_alloc_bytes")>>10)
	if slowest > 20*time.Second {
		h.t.Errorf("while %s: %v", while, slowest)
	}
}

// metric reads one from the management plane.
func (h *httpSiege) metric(name string) int {
	h.t.Helper()
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return h.s.DialContext(ctx, "tcp", "10.0.2.15:9443")
		},
		// The plane's certificate is of its own making.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{h.cert}}}}
	resp, err := client.Get("https://10.0.2.15:9443/metrics")
	if err != nil { // once more: all may go at once on a busy machine
		resp, err = client.Get("https://10.0.2.15:9443/metrics")
	}
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "\n"+name+" ")
	value, _, _ := strings.Cut(after, "\n")
	n, err := strconv.Atoi(value)
	if err != nil {
		h.t.Fatalf("no metric %s in\n%s", name, b)
	}
	return n
}

// siegeRAM is what the machine of TestHTTPSiege has, in MiB, and siegeCrowd how many
// connections come.
const siegeRAM, siegeCrowd = 96, 5000

// TestHTTPSiege: 5,000 connections, among them slow ones, such as send too much and
// such as take nothing, and a flood of half-open ones. Others are served all the time,
// memory is bounded, and what was counted and logged fits.
func TestHTTPSiege(t *testing.T) {
	h := bootHTTPSiege(t, siegeRAM)
	h.served("nobody else is there")
	before := h.metric("go_memstats_heap_alloc_bytes")
	all := h.crowd(siegeCrowd)
	h.served(fmt.Sprintf("%d are connected", siegeCrowd))
	if n := h.metric("ampoule_http_connections"); n < siegeCrowd {
		t.Errorf("%d connections are open", n)
	}
	for i := 0; i < siegeCrowd; i += 50 {
		if status, err := h.status(all[i], askPage); status != 200 || err != nil {
			t.Fatalf("connection %d: %d, %v", i, status, err)
		}
	}
	h.slow(all[:500])
	h.huge(all[500:700])
	h.stalled(all[700:900])
	h.flood(5000)
	for i, c := range all {
		c.(*net.TCPConn).SetLinger(0) // the kernel would try each FIN again and again
		c.Close()
		if i%50 == 0 {
			time.Sleep(20 * time.Millisecond) // a reset that is lost is not sent again
		}
	}
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		left := h.metric("ampoule_http_connections")
		if left == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections stay when all have gone", left)
		}
	}
	h.served("all have gone")
	after := 0
	for end := time.Now().Add(150 * time.Second); ; { // each question brings the next collection nearer
		if after = h.metric("go_memstats_heap_alloc_bytes"); after <= before+(8<<20) || time.Now().After(end) {
			break
		}
	}
	t.Logf("heap %d KB before, %d KB after", before>>10, after>>10)
	if after > before+(8<<20) {
		t.Error("memory is not given back")
	}
	lines := 0
	for _, l := range h.Lines() {
		if strings.Contains(l, " info request ") {
			lines++
		}
	}
	if left := h.metric("ampoule_http_log_lines_left_out_total"); lines == 0 || lines+left < 700 {
		t.Errorf("%d lines of the access log, %d left out, of 700 errors", lines, left)
	}
}

// slow sends heads octet by octet: each connection gets 408 in its time.
func (h *httpSiege) slow(conns []net.Conn) {
	h.t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			for _, c := range conns {
				io.WriteString(c, "GET / HTTP/1.1\r\nX-Slow: "[min(i, 23):][:1]) // it ends in 408
			}
			select {
			case <-done:
				return
			case <-time.After(700 * time.Millisecond):
			}
		}
	})
	h.served("others send heads octet by octet")
	for i, c := range conns {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 408 {
			h.t.Errorf("slow connection %d: %+v, %v", i, resp, err)
			break
		}
	}
	close(done)
	wg.Wait()
	if n := h.metric(`ampoule_http_timeouts_total{phase="read"}`); n != len(conns) {
		h.t.Errorf("%d heads were too slow, of %d", n, len(conns))
	}
}

// huge sends heads that are too long.
func (h *httpSiege) huge(conns []net.Conn) {
	h.t.Helper()
	head := "GET / HTTP/1.1\r\nHost: www.example.org\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n"
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			go io.WriteString(c, head) // may be cut off
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			// On a machine so busy that 8 KiB take 5 s they are too slow as well.
			if err != nil || resp.StatusCode != 431 && resp.StatusCode != 408 {
				h.t.Errorf("huge head %d: %+v, %v", i, resp, err)
			}
		})
	}
	h.served("others send huge heads")
	wg.Wait()
}

// stalled asks for more than there is room for and takes nothing.
func (h *httpSiege) stalled(conns []net.Conn) {
	h.t.Helper()
	for i, c := range conns {
		c.(*net.TCPConn).SetReadBuffer(4096)
		if _, err := io.WriteString(c, strings.Repeat("GET /big HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 3)); err != nil {
			h.t.Fatalf("connection %d: %v", i, err)
		}
	}
	h.served("others take no responses")
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(time.Second) {
		if n := h.metric(`ampoule_http_timeouts_total{phase="write"}`); n == len(conns) {
			return
		} else if time.Now().After(end) {
			h.t.Fatalf("%d of %d that take nothing were ended", n, len(conns))
		}
	}
}

// flood sends SYNs from addresses that never answer.
func (h *httpSiege) flood(n int) {
	h.t.Helper()
	to := netip.MustParseAddrPort("10.0.2.15:80")
	for i := range n {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), uint16(1024+i))
		if err := h.s.Inject(netpeer.SYN(from, to, uint32(i)*7919)); err != nil {
			h.t.Fatal(err)
		}
		if i%2500 == 2499 {
			h.served(fmt.Sprintf("%d are half open", i+1))
		}
	}
}
