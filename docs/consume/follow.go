// Counts what happens to sessions, by day: each change once, in order, none missing.
package main

import (
	"database/sql"
	"fmt"
	"log"
)

const table = `create table if not exists changes (day text, type text, n int, primary key (day, type))`

func count(tx *sql.Tx, e event) error { // the effect: committed with the session's position, or neither is
	fmt.Println(e.SessionID, e.Epoch, e.Version, e.Type)
	_, err := tx.Exec("insert into changes values ($1, $2, 1) on conflict (day, type) do update set n = changes.n + 1",
		e.Timestamp[:10], e.Type)
	return err
}

func main() {
	log.Fatal(follow("consumer.follow", table, count))
}
