// Package bare lets the guests of the test suites touch the machine below Go:
// raw memory, the gate, what boot left behind. No appliance may use it; what it
// tries is what the seal must stop.
package bare
