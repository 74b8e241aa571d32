package sitefolder

import (
	"bytes"
	"io"

	"ampoule/libos/config/site"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// slowBytes is from where on brotli's best costs more time than it is worth.
const slowBytes = 4 << 20

// encoders compress. The same data give the same bytes. Each is made once, since
// that takes longer than to compress a small file.
type encoders struct {
	gzip     *gzip.Writer
	best, br *brotli.Writer
	zstd     *zstd.Encoder
}

func newEncoders() (*encoders, error) {
	g, err := gzip.NewWriterLevel(io.Discard, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	// A window of 8 MiB is the most that a browser must take (RFC 9659).
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	if err != nil {
		return nil, err
	}
	return &encoders{g, brotli.NewWriterLevel(io.Discard, brotli.BestCompression), brotli.NewWriterLevel(io.Discard, 9), z}, nil
}

// writer is what the libraries' writers have in common.
type writer interface {
	io.WriteCloser
	Reset(io.Writer)
}

func (e *encoders) encode(c site.Coding, data []byte) ([]byte, error) {
	var w writer
	switch {
	case c == site.Zstd:
		return e.zstd.EncodeAll(data, nil), nil
	case c == site.Gzip:
		w = e.gzip
	case len(data) > slowBytes:
		w = e.br
	default:
		w = e.best
	}
	var b bytes.Buffer
	w.Reset(&b)
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	err := w.Close()
	return b.Bytes(), err
}
