// Package profile is the part of the management plane that has profiles of the
// heap and the goroutines, in the format of go tool pprof.
package profile

import (
	"bytes"
	"runtime/pprof"

	"ampoule/libos/mgmt"
	"ampoule/libos/mgmt/plane"
)

// Part is a mgmt.Part.
type Part struct{}

// Routes implements mgmt.Part.
func (Part) Routes(*plane.Host) []mgmt.Route {
	return []mgmt.Route{{Method: "GET", Path: "/v1/pprof/{name}", Role: mgmt.Read, Handle: get}}
}

// get answers with a profile. There are no arguments and no values of variables in
// it.
func get(c *mgmt.Call) {
	if c.Name != "heap" && c.Name != "goroutine" {
		c.Fail(404, "no-profile", "There are two profiles: heap and goroutine.")
		return
	}
	var b bytes.Buffer
	if err := pprof.Lookup(c.Name).WriteTo(&b, 0); err != nil {
		c.Fail(500, "failed", "The profile could not be made.")
		return
	}
	c.Type, c.Out = "application/octet-stream", b.Bytes()
}
