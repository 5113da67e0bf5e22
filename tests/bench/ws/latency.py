"""stub"""


def trade_to_frame(database, environment):
    return []
