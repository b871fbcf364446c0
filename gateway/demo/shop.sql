-- The demo's database: a small shop with people in it.
CREATE TABLE users (
    id    integer PRIMARY KEY,
    name  text NOT NULL,
    email text NOT NULL,
    ssn   text NOT NULL,
    plan  text NOT NULL
);
INSERT INTO users VALUES
    (1, 'Ada Lovelace',    'ada@example.com',    '219-09-9999', 'team'),
    (2, 'Grace Hopper',    'grace@example.org',  '078-05-1120', 'free'),
    (3, 'Katherine Johnson', 'kj@example.net',   '457-55-5462', 'team');
CREATE TABLE orders (
    id      integer PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users,
    total   numeric(10, 2) NOT NULL,
    status  text NOT NULL
);
INSERT INTO orders SELECT n, 1 + n % 3, (n * 37 % 900) + 0.5, 'open' FROM generate_series(1, 30) n;
CREATE VIEW contacts AS SELECT name, email AS reach_at FROM users;
