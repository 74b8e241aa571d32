//go:build ampoule

// Command places is the guest that says where its memory is, and ends.
package main

import "ampoule/boot/guests/bare"

func main() { bare.PrintPlaces() }
