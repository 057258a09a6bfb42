// Failing runs a program whose system calls on files a supervisor may refuse:
//
//	failing SOCKET PROGRAM [ARGS]
//
// It hands the supervisor, which listens on the unix socket, the descriptor by which the
// calls are decided, and becomes the program. See package calls.
package main

import (
	"fmt"
	"os"

	"tidemark/proof/calls"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: failing SOCKET PROGRAM [ARGS]")
		os.Exit(2)
	}
	if err := calls.Exec(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "failing:", err)
		os.Exit(1)
	}
}
