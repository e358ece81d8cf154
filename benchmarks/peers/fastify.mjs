// @fastify/session on Redis, in its cheapest documented settings: a session that did not change is not written.
import cookie from "@fastify/cookie";
import session from "@fastify/session";
import { RedisStore } from "connect-redis";
import Fastify from "fastify";
import { createClient } from "redis";

const { PORT, REDIS_URL } = process.env;

const client = createClient({ url: REDIS_URL });
await client.connect();
const app = Fastify();
app.get("/bare", async () => "ada");
await app.register(async (part) => {
  await part.register(cookie);
  await part.register(session, {
    store: new RedisStore({ client, prefix: "fastify:", disableTouch: true }),
    secret: "x".repeat(40),
    saveUninitialized: false,
    rolling: false,
    cookie: { secure: false, maxAge: 1_800_000 },
  });
  part.get("/login", async (request) => {
    request.session.name = "ada";
    request.session.n = 0;
    return "ada";
  });
  part.get("/read", async (request) => request.session.name ?? "nobody");
  part.get("/write", async (request) => String((request.session.n += 1)));
});
await app.listen({ port: Number(PORT), host: "127.0.0.1" });
