"""Who gets what: each route of the dashboard and the codes for visitor, user, viewer, operator and admin."""

from __future__ import annotations

Codes = dict[str, tuple[int, ...]]

# What visitor, user, viewer, operator and admin get for GET and for an empty POST, PUT or DELETE; a route that is not listed fails.
LOOK: Codes = {"GET": (302, 403, 200, 200, 200), "POST": (302, 403, 403, 405, 405)}
ACT: Codes = {"GET": (302, 403, 405, 405, 405), "POST": (302, 403, 403, 303, 303)}
ADMIN_ACT: Codes = {"GET": (302, 403, 403, 403, 200), "POST": (302, 403, 403, 403, 400)}
API_LOOK: Codes = {"GET": (401, 403, 200, 200, 200), "POST": (401, 403, 403, 405, 405)}
API_ACT: Codes = {"GET": (401, 403, 405, 405, 405), "POST": (401, 403, 403, 400, 400)}
API_ADMIN: Codes = {"GET": (401, 403, 403, 403, 405), "POST": (401, 403, 403, 403, 400)}
MATRIX: dict[str, Codes] = {
    r"/admin/?": LOOK,
    r"/admin/new": LOOK,
    r"/admin/views": {"GET": (302, 403, 405, 405, 405), "POST": (302, 403, 303, 303, 303)},
    r"/admin/overview": LOOK,
    r"/admin/live": {"POST": LOOK["POST"]},
    r"/admin/sessions/([A-Za-z0-9]{1,64})": LOOK,
    r"/admin/sessions/([A-Za-z0-9]{1,64})/values": {"GET": LOOK["GET"], "POST": (302, 403, 403, 403, 400)},
    r"/admin/users": LOOK,
    r"/admin/user": LOOK,
    r"/admin/reset": {"GET": (302, 403, 403, 403, 404), "POST": (302, 403, 403, 403, 404)},
    r"/admin/jobs": LOOK,
    r"/admin/jobs/live": LOOK,
    r"/admin/jobs/([A-Za-z0-9]{1,64})": {"GET": (302, 403, 404, 404, 404), "POST": LOOK["POST"]},
    r"/admin/jobs/([A-Za-z0-9]{1,64})/live": {"GET": (302, 403, 404, 404, 404), "POST": LOOK["POST"]},
    r"/admin/jobs/([A-Za-z0-9]{1,64})/resume": {"GET": (302, 403, 404, 404, 404), "POST": (302, 403, 403, 404, 404)},
    r"/admin/jobs/([A-Za-z0-9]{1,64})/cancel": {"GET": ACT["GET"], "POST": (302, 403, 403, 404, 404)},
    r"/admin/settings": LOOK,
    r"/admin/operators": {"GET": LOOK["GET"], "POST": (302, 403, 403, 403, 405)},
    r"/admin/operators/role": ADMIN_ACT,
    r"/admin/operators/tokens": ADMIN_ACT,
    r"/admin/operators/invite": ADMIN_ACT,
    r"/admin/end": {**ACT, "GET": (302, 403, 302, 302, 302)},
    r"/admin/block": {"GET": (302, 403, 403, 404, 404), "POST": (302, 403, 403, 404, 404)},
    r"/admin/audit": LOOK,
    r"/admin/audit\.(jsonl|csv)": {"GET": LOOK["GET"], "POST": (302, 403, 200, 200, 200)},
    r"/admin/sessions\.(jsonl|csv)": {"GET": LOOK["GET"], "POST": (302, 403, 200, 200, 200)},
    r"/admin/api/openapi\.json": API_LOOK,
    r"/admin/api/sessions": API_LOOK,
    r"/admin/api/sessions/export": API_LOOK,
    r"/admin/api/sessions/destroy": API_ACT,
    r"/admin/api/sessions/destroy-all": API_ACT,
    r"/admin/api/sessions/([A-Za-z0-9]{1,64})": API_LOOK,
    r"/admin/api/sessions/([A-Za-z0-9]{1,64})/values": API_ADMIN,
    r"/admin/api/users": API_LOOK,
    r"/admin/api/users/([^/]{1,200})": API_LOOK,
    r"/admin/api/users/([^/]{1,200})/block": API_ACT,
    r"/admin/api/users/([^/]{1,200})/role": {**API_ADMIN, "POST": (401, 403, 403, 403, 405)},
    r"/admin/api/stats": API_LOOK,
    r"/admin/api/suggest": API_LOOK,
    r"/admin/api/jobs": API_LOOK,
    r"/admin/api/jobs/([A-Za-z0-9]{1,64})": {"GET": (401, 403, 404, 404, 404), "POST": API_LOOK["POST"]},
    r"/admin/api/jobs/([A-Za-z0-9]{1,64})/resume": {"GET": API_ACT["GET"], "POST": (401, 403, 403, 404, 404)},
    r"/admin/api/audit": API_LOOK,
    r"/admin/api/audit/verify": API_LOOK,
    r"/admin/api/tokens": {"GET": API_LOOK["GET"], "POST": (401, 403, 403, 403, 400)},
    r"/admin/api/tokens/([A-Za-z0-9]{1,64})": {"GET": API_ACT["GET"], "POST": (401, 403, 403, 403, 405)},
}
