// express-session on Redis or MongoDB, in its cheapest documented settings: a session that did not change is not written.
import { MongoStore } from "connect-mongo";
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

const { PORT, REDIS_URL, MONGO_URL } = process.env;

async function openStore(kind) {
  if (kind === "mongo") {
    return MongoStore.create({ mongoUrl: MONGO_URL, dbName: "express", touchAfter: 60 });
  }
  const client = createClient({ url: REDIS_URL });
  await client.connect();
  return new RedisStore({ client, prefix: "express:", disableTouch: true });
}

const app = express();
app.get("/bare", (request, response) => response.send("ada"));
app.use(
  session({
    store: await openStore(process.argv[2]),
    secret: "x".repeat(40),
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 1_800_000 },
  }),
);
app.get("/login", (request, response) => {
  request.session.name = "ada";
  request.session.n = 0;
  response.send("ada");
});
app.get("/read", (request, response) => response.send(request.session.name ?? "nobody"));
app.get("/write", (request, response) => response.send(String((request.session.n += 1))));
app.listen(Number(PORT), "127.0.0.1");
