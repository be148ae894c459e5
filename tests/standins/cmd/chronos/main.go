// Command chronos is the lab's stand-in for Chronos 3.0.2.
package main

import (
	"os"

	"toots.test/standins/internal/chronos"
)

func main() { chronos.Run(os.Args[1:]) }
