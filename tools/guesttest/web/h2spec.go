package web

import (
	"encoding/xml"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
)

// H2Spec runs all of h2spec's tests, those that go beyond what a server must do
// included. Each has time enough for an emulated machine: an answer that does not come is
// a failure however long that is.
func (c *Clients) H2Spec(t *testing.T) {
	host, port, err := net.SplitHostPort(c.Addr(443))
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(c.Dir, "h2spec.xml")
	ok, err := h2spec.Run(&config.Config{Host: host, Port: number, Path: "/", Timeout: 10 * time.Second, MaxHeaderLen: 4000,
		JUnitReport: file, Strict: true, TLS: true, Insecure: true})
	if err != nil || !ok {
		t.Errorf("h2spec: %t, %v", ok, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Suites []struct {
			Tests   int `xml:"tests,attr"`
			Skipped int `xml:"skipped,attr"`
			Cases   []struct {
				Class   string `xml:"classname,attr"`
				Failure string `xml:"failure"`
				Error   string `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(b, &report); err != nil {
		t.Fatal(err)
	}
	tests := 0
	for _, suite := range report.Suites {
		tests += suite.Tests - suite.Skipped
		for _, c := range suite.Cases {
			if c.Failure != "" || c.Error != "" {
				t.Errorf("%s: %s%s", c.Class, c.Failure, c.Error)
			}
		}
	}
	if tests != 146 {
		t.Errorf("h2spec has run %d tests, want 146", tests)
	}
}
