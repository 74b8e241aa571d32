package certs

import (
	"bytes"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"ampoule/libos/mgmt/mgmttest"
)

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// TestBadBundles has each bundle of the corpus refused with its code and a
// sentence, while what is in force and what is staged stay as they were.
func TestBadBundles(t *testing.T) {
	corpus := mgmttest.NewPKI(t).Bad(t)
	if len(corpus) < 40 {
		t.Errorf("%d bundles", len(corpus))
	}
	s := New(Config{Slots: 4, Now: time.Now}, nil, nil)
	before := s.Current()
	seen := map[Code]bool{}
	for _, b := range corpus {
		seen[Code(b.Code)] = true
		err := s.Stage("me", KindCertificate, "x", b.Data, false)
		var got *Problem
		if !errors.As(err, &got) {
			t.Errorf("%s: %v, want %s", b.What, err, Code(b.Code))
			continue
		}
		if got.Code != Code(b.Code) || got.Slot != "x" || !strings.HasSuffix(got.Sentence, ".") || len(got.Sentence) < 20 {
			t.Errorf("%s: %s, %s; want %s", b.What, got.Code, got.Sentence, Code(b.Code))
		}
		if strings.Contains(got.Sentence, "PRIVATE KEY-----") {
			t.Errorf("%s: the sentence has the key", b.What)
		}
		if _, _, staged := s.Staged(); s.Current() != before || len(staged) != 0 {
			t.Fatalf("%s: something has changed", b.What)
		}
	}
	t.Logf("%d bundles, %d codes", len(corpus), len(seen))
}
