package appliance

import (
	"context"
	"net"
	"strconv"
)

// ListenBoth binds a port for UDP and TCP, both or neither.
func ListenBoth(n Network, port uint16) (net.PacketConn, net.Listener, error) {
	address := ":" + strconv.Itoa(int(port))
	udp, err := n.ListenPacket("udp", address)
	if err != nil {
		return nil, nil, err
	}
	tcp, err := n.Listen("tcp", address)
	if err != nil {
		udp.Close()
		return nil, nil, err
	}
	return udp, tcp, nil
}

// Loops runs loops until one of them ends or ctx does, then calls stop, which
// must make all of them end, and waits for them. The error is that of the loop
// that ended first; it is nil when ctx was first.
func Loops(ctx context.Context, stop func(), loops ...func() error) error {
	defer context.AfterFunc(ctx, stop)()
	ended := make(chan error, len(loops))
	for _, loop := range loops {
		go func() { ended <- loop() }()
	}
	err := <-ended
	asked := ctx.Err() != nil
	stop()
	for range loops[1:] {
		<-ended
	}
	if asked {
		return nil
	}
	return err
}
