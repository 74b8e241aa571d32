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

// encoders compress. The same data give the same bytes. Each is made once, and when
// it is needed, since that takes longer than to compress a small file.
type encoders struct {
	gzip     *gzip.Writer
	best, br *brotli.Writer
	zstd     *zstd.Encoder
}

// writer is what the libraries' writers have in common.
type writer interface {
	io.WriteCloser
	Reset(io.Writer)
}

func (e *encoders) encode(c site.Coding, data []byte) ([]byte, error) {
	var w writer
	var err error
	switch {
	case c == site.Zstd:
		if e.zstd == nil {
			// A window of 8 MiB is the most that a browser must take (RFC 9659).
			e.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression),
				zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
		}
		if err != nil {
			return nil, err
		}
		return e.zstd.EncodeAll(data, nil), nil
	case c == site.Gzip:
		if e.gzip == nil {
			e.gzip, err = gzip.NewWriterLevel(io.Discard, gzip.BestCompression)
		}
		w = e.gzip
	case len(data) > slowBytes:
		if e.br == nil {
			e.br = brotli.NewWriterLevel(io.Discard, 9)
		}
		w = e.br
	default:
		if e.best == nil {
			e.best = brotli.NewWriterLevel(io.Discard, brotli.BestCompression)
		}
		w = e.best
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w.Reset(&b)
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}
