// Goroutines that compute in main.work, called by main.spin.
package main

import (
	"fmt"
	"os"
	"runtime"
)

var sink uint64

//go:noinline
func work(n uint64) uint64 {
	all := n
	for i := uint64(0); i < n%64; i++ {
		all = all*31 + i
	}
	if n&7 != 0 {
		all += work(n >> 1)
	}
	return all
}

//go:noinline
func spin(total *uint64) {
	for n := uint64(0); ; n++ {
		*total += work(n)
	}
}

func main() {
	runtime.GOMAXPROCS(2)
	go spin(&sink)
	fmt.Println("ready")
	os.Stdin.Read(make([]byte, 1))
}
