// Package h2 speaks HTTP/2 (RFC 9113) for a server whose responses are ready: it
// takes the requests of a connection apart, has a httpd.Handler answer them, and sends
// the answers within the client's windows. Heads of requests are decoded by package hpack
// of golang.org/x/net; those of responses need no table.
//
// net/http's HTTP/2 would add 980 KB to an image with TLS, and its Framer 530 KB,
// since it lies in a package that imports net/http; hpack adds 17 KB. It would also
// refuse and answer by rules of its own, where requests over HTTP/1.1 and HTTP/2 are
// to get the same answers: a request becomes an http1.Request, by http1's rules.
//
// There is no push, and priorities are not heeded: responses take turns. A body of a
// request is thrown away; where it is long, the client is told to stop.
//
// What a client can make the server hold or do is bounded: streams, the octets of a
// head and the fragments it comes in, frames that bring nothing forward (see
// conn.charge), what waits to be written, and time.
package h2

import (
	"net"
	"sync"
	"time"

	"ampoule/appliances/http/httpd"
)

// Protocol implements https.Protocol.
type Protocol struct{}

// Open implements https.Protocol.
func (Protocol) Open(cfg *httpd.Config, spawn func(func())) func(net.Conn, httpd.Handler) {
	s := &server{idle: cfg.Idle, read: cfg.Read, write: cfg.Write, spawn: spawn}
	return func(c net.Conn, h httpd.Handler) { newConn(s, c, h).serve() }
}

// server has what connections share.
type server struct {
	idle  time.Duration // without a request
	read  time.Duration // for the rest of what has begun: a frame, a head
	write time.Duration // for each 32 KiB of responses
	spawn func(func())  // runs a function in a goroutine

	streams   sync.Pool // of *stream
	scratches sync.Pool // of *scratch
	buffers   sync.Pool // of *[]byte with room for batchSize
}

// Bounds of one connection.
const (
	// mostStreams are under way at a time (section 5.1.2).
	mostStreams = 100
	// headSize are the octets of a request's fields, names and values, as many as a head
	// of HTTP/1.1 may have; what is longer is answered with 431.
	headSize = 8192
	// blockSize are those of its block as it comes, and fragments the frames in which it
	// comes: what is more ends the connection (CVE-2024-27316).
	blockSize = 32 << 10
	fragments = 16
	// stringSize is the longest name or value that is decoded at all.
	stringSize = 16 << 10
	// tableSize is the client's table of HPACK. There is none of ours.
	tableSize = 4096
	// bodyWindow is what a client may send of a request's body before it is answered
	// or told to stop.
	bodyWindow = 16 << 10
	// outSize is what may wait to be written beside bodies. Nothing is read meanwhile.
	outSize = 32 << 10
	// batchSize is what is written at a time: one record of TLS.
	batchSize = 16 << 10
	// progress is what must be sent within the time for it.
	progress = 32 << 10
	// lingerSize and lingerTime bound what is taken from a client behind GOAWAY: closing
	// with unread data would reset the connection, and it could be lost.
	lingerSize = 64 << 10
	lingerTime = time.Second
)
