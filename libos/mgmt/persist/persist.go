// Package persist keeps the generations of certificates and the keys of the plane on
// the VM's disk, in a store (package store) that seals private keys with a key of its own.
//
// The key is compiled in, if the configuration says so, or given at the start on
// the kernel command line (store-key=, 64 hexadecimal digits). Who has it and the
// disk has the certificates' keys. Both ways it is known to who can read the image,
// or the VM's start file; it keeps the keys from those who get the disk alone: a
// storage administrator, a backup, a discarded drive.
package persist

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"ampoule/libos/format"
	"ampoule/libos/mgmt/certs"
	"ampoule/libos/mgmt/plane"
	"ampoule/libos/store"
)

// Disk is a mgmt.Keeper. It is plain data that tools/configc writes as Go source.
type Disk struct {
	Key string // store.KeySize bytes; empty: from the command line
}

// argument is what the key stands behind on the command line.
const argument = "store-key="

// patience is how long the disk may take to be there.
const patience = 10 * time.Second

// Open implements mgmt.Keeper. An error says why nothing can be kept; the disk is
// as it was.
func (d Disk) Open(h *plane.Host) (certs.Keeper, error) {
	key := []byte(d.Key)
	if d.Key == "" {
		for _, word := range strings.Fields(h.Command) {
			if v, ok := strings.CutPrefix(word, argument); ok {
				var err error
				if key, err = hex.DecodeString(v); err != nil || len(key) != store.KeySize {
					return nil, format.Errorf("%s on the command line is not %d hexadecimal digits", argument, 2*store.KeySize)
				}
			}
		}
	}
	if len(key) == 0 {
		return nil, format.Errorf("no key for the disk: there is none in the image, and no %s on the command line", argument)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	disk, err := h.Disk(ctx)
	if err != nil {
		return nil, err
	}
	if disk == nil {
		return nil, format.Errorf("there is no disk")
	}
	s, err := store.Open(store.Config{Disk: disk, Owner: h.Appliance + "/" + h.Hostname, Key: key})
	if err != nil {
		return nil, err
	}
	k := &keeper{store: s}
	last, err := s.KeepCrash(h.Build)
	if err != nil {
		k.why = err.Error()
	}
	if last != nil {
		k.last = &plane.Crash{Time: last.Time, Build: last.Build, Text: string(last.Text)}
	}
	return k, nil
}

// keeper is a certs.Keeper, a plane.Box and plane.Crashes. The store's generations are more than
// those of certificates, whose number is a value of its own.
type keeper struct {
	store *store.Store
	last  *plane.Crash // nil: none
	why   string       // no crash of this run would be kept

	mu    sync.Mutex // held by who commits
	tried uint64     // the highest number that may be on the disk
}

// number is the name of the value that has the number of the generation of
// certificates, and box is in front of the names of values in the Box.
const (
	number = "number"
	box    = "box/"
)

// Load implements certs.Keeper.
func (k *keeper) Load() (values []certs.Value, generation uint64) {
	names, of := k.store.Names()
	for _, n := range names {
		data, ok := k.store.Get(n)
		switch {
		case !ok || strings.HasPrefix(n, box):
		case n == number:
			generation, _ = strconv.ParseUint(string(data), 10, 64)
		default:
			values = append(values, certs.Value{Name: n, Data: data})
		}
	}
	if generation == 0 && len(values) > 0 {
		generation = of // from before there was a Box
	}
	return values, generation
}

// Keep implements certs.Keeper.
func (k *keeper) Keep(base uint64, values []certs.Value) (uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old, now := k.Load()
	if base != now {
		return now, format.Errorf("generation %d is kept, not %d", now, base)
	}
	next := max(now, k.tried) + 1
	changes := []store.Change{{Name: number, Value: strconv.AppendUint(nil, next, 10)}}
	there := map[string]bool{}
	for _, v := range values {
		there[v.Name] = true
		changes = append(changes, store.Change{Name: v.Name, Value: v.Data, Private: v.Private})
	}
	for _, v := range old {
		if !there[v.Name] {
			changes = append(changes, store.Change{Name: v.Name, Forget: true})
		}
	}
	err := k.commit(changes)
	if errors.Is(err, store.ErrTooLarge) {
		return now, certs.ErrTooMuch
	}
	k.tried = next
	if err != nil {
		return now, err
	}
	return next, nil
}

// commit commits to the store; mu is held.
func (k *keeper) commit(changes []store.Change) error {
	_, of := k.store.Names()
	_, err := k.store.Commit(of, changes)
	return err
}

// Kept implements certs.Keeper.
func (k *keeper) Kept() (bool, string) {
	st := k.store.Status()
	return st.Persisted, st.Notice
}

// Get implements plane.Box.
func (k *keeper) Get(name string) ([]byte, bool) { return k.store.Get(box + name) }

// Put implements plane.Box.
func (k *keeper) Put(name string, secret []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	changes := []store.Change{{Name: box + name, Value: secret, Private: true}}
	if _, n := k.Load(); n > 0 { // which may be known by the store's only
		changes = append(changes, store.Change{Name: number, Value: strconv.AppendUint(nil, n, 10)})
	}
	return k.commit(changes)
}

// Crash implements plane.Crashes.
func (k *keeper) Crash() (*plane.Crash, string) { return k.last, k.why }
