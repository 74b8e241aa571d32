//go:build ampoule

package platform

import "ampoule/libos/device"

// lasting is a disk that keeps the last words of the program: a device.LastWords.
type lasting struct{ device.LastWriter }

// KeepLast implements device.LastWords.
func (l lasting) KeepLast(sector uint64, head int, seal func(page []byte, n int)) ([]byte, error) {
	page, err := l.LastPage()
	if err != nil {
		return nil, err
	}
	setLast(page[head:], func(n int) {
		seal(page, n)
		l.LastWrite(sector)
	})
	return page, nil
}
