package load

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// HTTP asks for path with GET over HTTP/1.1 and wants body, byte by byte. It has no
// datagrams.
func HTTP(path string, body []byte) Service {
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	return Service{
		Name: "http", Port: 80, NoDatagram: true,
		Request: func(uint32) []byte { return request },
		Stream:  func(m []byte) []byte { return m },
		Check: func(_, answer []byte) error {
			if !bytes.Equal(answer, body) {
				return fmt.Errorf("another body, of %d bytes instead of %d", len(answer), len(body))
			}
			return nil
		},
		ReadStream: func(r io.Reader, _ []byte) ([]byte, error) {
			in := bufio.NewReaderSize(r, 16<<10)
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				return nil, err
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err == nil && resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
			if err == nil && in.Buffered() > 0 {
				err = fmt.Errorf("%d bytes behind the response", in.Buffered())
			}
			return b, err
		},
	}
}
