package xentest

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"ampoule/drivers/xen/abi"
)

// path makes a path absolute.
func (s *Store) path(p string) string {
	if strings.HasPrefix(p, "/") {
		return p
	}
	return home + p
}

func remove(tree map[string]string, p string) {
	maps.DeleteFunc(tree, func(k, _ string) bool { return k == p || strings.HasPrefix(k, p+"/") })
}

// exists says whether a path is there, as a value or as a directory.
func exists(tree map[string]string, p string) bool {
	if _, ok := tree[p]; ok {
		return true
	}
	for k := range tree {
		if strings.HasPrefix(k, p+"/") {
			return true
		}
	}
	return false
}

// request does what a request asks, and gives the reply or an error's name.
func (s *Store) request(typ, txid uint32, body string) (reply, fail string) {
	arg, rest, ok := strings.Cut(body, "\x00")
	if !ok {
		return "", "EINVAL"
	}
	switch typ {
	case abi.StoreWatch, abi.StoreUnwatch:
		return s.watch(typ, arg, strings.TrimSuffix(rest, "\x00"))
	case abi.StoreTxStart:
		s.nextTx++
		s.txs[s.nextTx] = &tx{tree: maps.Clone(s.tree), version: s.version}
		return strconv.Itoa(int(s.nextTx)) + "\x00", ""
	case abi.StoreTxEnd:
		return s.commit(txid, arg)
	}
	if arg == "" || len(arg) > abi.StorePathMax {
		return "", "EINVAL"
	}
	t, tree := (*tx)(nil), s.tree
	if txid != 0 {
		if t = s.txs[txid]; t == nil {
			return "", "ENOENT"
		}
		tree = t.tree
	}
	p := s.path(arg)
	switch typ {
	case abi.StoreWrite, abi.StoreMkdir, abi.StoreRm:
		if s.denied[p] {
			return "", "EACCES"
		}
		if fail := change(typ, tree, p, rest); fail != "" {
			return "", fail
		}
		if t != nil {
			t.changed = append(t.changed, p)
		} else {
			s.changed(p)
			s.wrote = append(s.wrote, p)
		}
		return "OK\x00", ""
	}
	if s.secret[p] {
		return "", "EACCES"
	}
	return look(typ, tree, p)
}

func change(typ uint32, tree map[string]string, p, value string) string {
	switch {
	case typ == abi.StoreWrite:
		tree[p] = value
	case typ == abi.StoreMkdir && !exists(tree, p):
		tree[p] = ""
	case typ == abi.StoreRm && !exists(tree, path.Dir(p)):
		return "ENOENT"
	case typ == abi.StoreRm:
		remove(tree, p)
	}
	return ""
}

func look(typ uint32, tree map[string]string, p string) (reply, fail string) {
	if !exists(tree, p) {
		return "", "ENOENT"
	}
	switch typ {
	case abi.StoreRead:
		return tree[p], ""
	case abi.StoreGetPerms:
		return "n0\x00r7\x00", ""
	case abi.StoreDirectory:
		names := map[string]bool{}
		for k := range tree {
			if rest, ok := strings.CutPrefix(k, p+"/"); ok {
				name, _, _ := strings.Cut(rest, "/")
				names[name] = true
			}
		}
		for _, n := range slices.Sorted(maps.Keys(names)) {
			reply += n + "\x00"
		}
		if len(reply) > abi.StorePayloadMax {
			return "", "E2BIG"
		}
		return reply, ""
	}
	return "", "ENOSYS"
}

func (s *Store) watch(typ uint32, asked, token string) (reply, fail string) {
	w := watch{path: s.path(asked), asked: asked, token: token}
	if typ == abi.StoreWatch {
		if slices.Contains(s.watches, w) {
			return "", "EEXIST"
		}
		s.watches = append(s.watches, w)
		s.fire(w, w.path)
		return "OK\x00", ""
	}
	i := slices.Index(s.watches, w)
	if i < 0 {
		return "", "ENOENT"
	}
	s.watches = slices.Delete(s.watches, i, i+1)
	return "OK\x00", ""
}

func (s *Store) commit(id uint32, how string) (reply, fail string) {
	t := s.txs[id]
	if t == nil {
		return "", "ENOENT"
	}
	delete(s.txs, id)
	if how != "T" {
		return "OK\x00", ""
	}
	if s.conflict > 0 || t.version != s.version {
		s.conflict = max(0, s.conflict-1)
		return "", "EAGAIN"
	}
	s.tree = t.tree
	for _, p := range t.changed {
		s.changed(p)
		s.wrote = append(s.wrote, p)
	}
	return "OK\x00", ""
}
