// Command marathon is the lab's stand-in for Marathon 1.11.
package main

import (
	"os"

	"toots.test/standins/internal/marathon"
)

func main() { marathon.Run(os.Args[1:]) }
