#!/bin/sh
# Serves one database. Wants MARIADB_DATABASE, MARIADB_USER and MARIADB_PASSWORD; writes to /var/lib/mysql and /run/mysqld.
# An administrator's client inside the container needs no password: `mariadb`.
set -eu
umask 077

data=/var/lib/mysql
run=/run/mysqld
export TMPDIR="$run"

quoted() { # as an SQL string
    printf "'%s'" "$(printf '%s' "$1" | sed -e 's/\\/\\\\/g' -e "s/'/''/g")"
}

named() { # as an SQL identifier
    printf '`%s`' "$(printf '%s' "$1" | sed -e 's/`/``/g')"
}

user="$(quoted "${MARIADB_USER:?is not set}")@'%'"
password="$(quoted "${MARIADB_PASSWORD:?is not set}")"
database="$(named "${MARIADB_DATABASE:?is not set}")"

# What a killed first start left behind is no database: begin again.
if [ ! -e "$data/complete" ]; then
    find "$data" -mindepth 1 -delete
    mariadb-install-db --no-defaults --force --datadir="$data" --skip-test-db --skip-name-resolve \
        --innodb-log-file-size=16M --auth-root-authentication-method=socket --auth-root-socket-user=mysql > "$run/install.log" 2>&1 \
        || { cat "$run/install.log" >&2; exit 1; }
    touch "$data/complete"
fi

# Run by the server before it answers anybody; on every start, so that a changed password counts.
cat > "$run/init.sql" << EOF
CREATE DATABASE IF NOT EXISTS $database;
CREATE USER IF NOT EXISTS $user;
ALTER USER $user IDENTIFIED BY $password;
GRANT ALL PRIVILEGES ON $database.* TO $user;
EOF

exec mariadbd --no-defaults --datadir="$data" --socket="$run/mysqld.sock" --pid-file="$run/mysqld.pid" --tmpdir="$run" \
    --bind-address='*' --init-file="$run/init.sql" --skip-name-resolve --character-set-server=utf8mb4 \
    --max-connections=500 --innodb-log-file-size=16M --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=2
