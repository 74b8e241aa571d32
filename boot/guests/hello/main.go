// Command hello is the smallest guest: it says that Go runs.
package main

import (
	_ "ampoule/boot/pvh" // the way here
)

func main() { println("hello from ring 3") }
