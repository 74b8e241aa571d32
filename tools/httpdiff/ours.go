package httpdiff

import (
	"bufio"
	"net"
	"strings"
	"time"

	"ampoule/libos/config/site"
)

// Serve answers connections to l from a table until l is closed. It reads requests
// such as Client sends; it is no server for others.
func Serve(l net.Listener, t site.Table) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go serve(conn, t)
	}
}

func serve(conn net.Conn, t site.Table) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	var q site.Request
	var r site.Response
	for {
		q.Reset()
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		// What stands in a target is for the table to judge, blanks among it.
		method, target, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		target = strings.TrimSuffix(target, " HTTP/1.1")
		path, query, _ := strings.Cut(target, "?")
		q.Method, q.Path, q.Query = []byte(method), []byte(path), []byte(query)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
			if !ok {
				break
			}
			if name == "Host" {
				q.Host = []byte(strings.TrimSpace(value))
			}
			q.Field([]byte(name), []byte(strings.Trim(value, " \t")))
		}
		tail := append(site.AppendDate([]byte("Date: "), time.Now().Unix()), "\r\n\r\n"...)
		t.Answer(&q, tail, &r)
		parts := net.Buffers(append([][]byte(nil), r.Parts...))
		if _, err := parts.WriteTo(conn); err != nil {
			return
		}
	}
}
