package xenbus

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"ampoule/drivers/xen/abi"
	"ampoule/drivers/xen/xenstore"
	"ampoule/libos/format"
)

// MaxDevices is how many devices of a kind are looked at.
const MaxDevices = 16

// maxPath is the longest path of a backend that is believed.
const maxPath = 256

// Enumerate lists the devices of a kind ("vif") as their directories
// ("device/vif/0"), by number. Names that are no number are left out, and so is
// what goes beyond MaxDevices.
func Enumerate(ctx context.Context, store *xenstore.Client, kind string) ([]string, error) {
	names, err := store.Directory(ctx, "device/"+kind)
	if errors.Is(err, xenstore.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, format.Errorf("xenbus: %w", err)
	}
	var ids []int
	for _, n := range names {
		if id, err := strconv.ParseUint(n, 10, 16); err == nil && strconv.Itoa(int(id)) == n {
			ids = append(ids, int(id))
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	var paths []string
	for _, id := range ids[:min(len(ids), MaxDevices)] {
		paths = append(paths, format.Sprintf("device/%s/%d", kind, id))
	}
	return paths, nil
}

// Peer lets a driver read both directories while it connects.
type Peer struct {
	store       *xenstore.Client
	front, back string
}

// Keys are keys of both ends and their values; what is not there is not in it.
type Keys struct {
	Front map[string]string // of the frontend's directory, which the toolstack fills
	Back  map[string]string // of the backend's
}

// Read reads keys of both directories, all at once. Values have any content.
func (p *Peer) Read(ctx context.Context, front, back []string) (Keys, error) {
	paths := make([]string, 0, len(front)+len(back))
	for _, k := range front {
		paths = append(paths, p.front+"/"+k)
	}
	for _, k := range back {
		paths = append(paths, p.back+"/"+k)
	}
	values, err := p.store.ReadAll(ctx, paths...)
	if err != nil {
		return Keys{}, err
	}
	for _, v := range values {
		if v.Err != nil {
			return Keys{}, v.Err
		}
	}
	of := func(keys []string, values []xenstore.Value) map[string]string {
		m := make(map[string]string)
		for i, v := range values {
			if v.Have {
				m[keys[i]] = v.Value
			}
		}
		return m
	}
	return Keys{Front: of(front, values[:len(front)]), Back: of(back, values[len(front):])}, nil
}

// Offers says whether the backend has a feature: its key is there and a number
// other than 0.
func (k Keys) Offers(key string) bool {
	n, err := strconv.ParseUint(k.Back[key], 10, 32)
	return err == nil && n != 0
}

// read reads a path that may not be there.
func read(ctx context.Context, store *xenstore.Client, path string) (value string, have bool, err error) {
	v, err := store.Read(ctx, path)
	if errors.Is(err, xenstore.ErrNotExist) {
		return "", false, nil
	}
	return v, err == nil, err
}

// parseState reads a state; what is none is Unknown.
func parseState(v string) abi.State {
	n, err := strconv.ParseUint(v, 10, 8)
	if err != nil || n > uint64(abi.StateReconfigured) {
		return abi.StateUnknown
	}
	return abi.State(n)
}

// checkBackend refuses a path that can't be a backend's.
func checkBackend(path string) error {
	if len(path) > maxPath || !strings.HasPrefix(path, "/") || strings.IndexByte(path, 0) >= 0 {
		return format.Errorf("backend directory %.64q", path)
	}
	return nil
}
