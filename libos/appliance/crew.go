package appliance

// crewSize is how many goroutines of a Crew stay when they have nothing to do.
const crewSize = 16

// Crew runs functions in goroutines, some of which it keeps: for connections
// that come and go, since a new goroutine's stack grows, copy by copy, to what
// the network stack needs, which costs more than the rest of a short connection.
// It has no bound of its own. The zero Crew is not usable; its methods may be
// called from any goroutine.
type Crew struct {
	work chan func()
	idle chan struct{} // a token for each goroutine that waits for work
}

// NewCrew makes a Crew without goroutines.
func NewCrew() *Crew {
	return &Crew{make(chan func()), make(chan struct{}, crewSize)}
}

// Go runs f in a goroutine that has nothing to do, or in a new one. It does not
// block.
func (c *Crew) Go(f func()) {
	select {
	case c.work <- f:
	default:
		go c.run(f)
	}
}

// Close lets idle goroutines end, and those that are busy when they are done.
// Nobody may call Go any more.
func (c *Crew) Close() { close(c.work) }

func (c *Crew) run(f func()) {
	for ok := true; ok; {
		f()
		select {
		case c.idle <- struct{}{}:
		default:
			return // enough others wait
		}
		f, ok = <-c.work
		<-c.idle
	}
}
